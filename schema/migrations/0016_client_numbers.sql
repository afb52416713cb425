-- An identifier of a client is registered once: one stream `client-N` has it. functions/record_sealed.sql says how a second
-- one is refused. The index also finds the number of an identifier.
CREATE UNIQUE INDEX stream_clients_registered_idx ON stream_clients (client_id) WHERE stream LIKE 'client-%';
