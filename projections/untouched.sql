-- True if no event in (after, upto] changes rows of a read model: as in TOUCHED_BY of projections/engine.py.
SELECT NOT EXISTS (
    SELECT FROM events e
    WHERE e.position > %(after)s AND e.position <= %(upto)s
      AND (e.type = ANY (coalesce(%(types)s::text[], ARRAY[e.type])) OR e.version > 1 AND e.type = ANY (%(naming)s))
)
