ALTER TABLE credentials ADD PRIMARY KEY (id);
CREATE INDEX credentials_stream_idx ON credentials (stream);
CREATE INDEX credentials_subject_idx ON credentials (subject, credential);
CREATE INDEX credentials_sha256_idx ON credentials (sha256);
CREATE INDEX credentials_identity_idx ON credentials (issuer, identity);
