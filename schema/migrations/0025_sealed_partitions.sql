-- Sealed values in partitions by position, so that erased bytes can be written out of the files a partition at a time
-- (docs/operate/scrub.md). The table becomes the first partition, for all positions: no row is copied or read. A partition
-- `sealed_fields_N` begins at position N, and the last one has no end, so an append always finds its partition. Only a scrub
-- makes further ones. Rights and triggers are those of the parent; functions/protect_partition.sql protects each partition.
ALTER TABLE sealed_fields RENAME TO sealed_fields_0;
ALTER TABLE sealed_fields_0 RENAME CONSTRAINT sealed_fields_pkey TO sealed_fields_0_pkey;
CREATE TABLE sealed_fields (LIKE sealed_fields_0) PARTITION BY RANGE (position);
ALTER TABLE sealed_fields ADD CONSTRAINT sealed_fields_pkey PRIMARY KEY (position);
ALTER TABLE sealed_fields ATTACH PARTITION sealed_fields_0 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
