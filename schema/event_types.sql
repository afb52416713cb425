-- Registers the event types of this version. Those of older and newer versions stay.
INSERT INTO event_types (type, version)
SELECT t.type, t.version FROM unnest(%(types)s::text[], %(versions)s::integer[]) AS t (type, version)
ON CONFLICT (type, version) DO NOTHING
