-- The streams with the newest recommendations of each client, up to a position and a number for each. Only these
-- streams are folded: prompts may be megabytes, so folding the whole history of a client would read far too much. A
-- stream that was set aside after that position has no rows now, and had some then.
SELECT DISTINCT newest.stream
FROM unnest(%(client_ids)s::text[]) AS client (id),
     LATERAL (SELECT model.stream FROM ai_recommendations model
              WHERE model.client_id = client.id AND model.id <= %(upto)s
              ORDER BY model.id DESC LIMIT %(most)s) newest
UNION ALL
SELECT aside.stream
FROM streams_set_aside aside
WHERE aside.read_model = 'ai_recommendations' AND aside.position > %(upto)s
  AND (SELECT c.client_id FROM stream_clients c WHERE c.stream = aside.stream) = ANY (%(client_ids)s)
