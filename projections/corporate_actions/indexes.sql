ALTER TABLE corporate_actions ADD PRIMARY KEY (id);
CREATE INDEX corporate_actions_stream_idx ON corporate_actions (stream);
CREATE INDEX corporate_actions_asset_idx ON corporate_actions (asset, id);
