-- Decisions that match, as of a position, in the order of positions. The columns are those of
-- Facts, and the stream. Decisions of clients who were erased by then are left out: nothing more can be recorded there.
SELECT model.id, model.outcome, model.created_at, model.amount_usd, model.risk_profile, model.stream
FROM ({source}) model
WHERE {conditions}
  AND (SELECT e.type FROM events e WHERE e.stream = model.stream AND e.position <= %(upto)s
       ORDER BY e.version DESC LIMIT 1) <> 'values.erased'
ORDER BY model.id
LIMIT %(most)s
