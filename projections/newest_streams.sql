-- The streams with the newest recommendations of each client, up to a position and a number for each. Only these
-- streams are folded: prompts may be megabytes, so folding the whole history of a client would read far too much.
SELECT DISTINCT newest.stream
FROM unnest(%(client_ids)s::text[]) AS client (id),
     LATERAL (SELECT model.stream FROM ai_recommendations model
              WHERE model.client_id = client.id AND model.id <= %(upto)s
              ORDER BY model.id DESC LIMIT %(most)s) newest
