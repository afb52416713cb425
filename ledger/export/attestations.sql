-- Copy the attestations of the selected events and of the registrations of recording keys, in order:
-- ledger/export/attestations.py. Each row has the SHA-256 of the bodies of its new events, in order. If the stream of
-- any of them got its number when it was recorded, it also has the SHA-256 of the bodies without the number at the end
-- of the stream.
COPY (
    SELECT a.first,
           json_build_array(a.first, a.last, encode(a.key, 'hex'), encode(a.session, 'hex'), a.serial,
                            encode(a.signature, 'hex'), a.numbered, a.replayed, encode(a.digests, 'hex'))::text,
           d.stored, d.unnumbered
    FROM (
        SELECT s.first FROM (SELECT e.position FROM events e WHERE {which} AND e.position <= {size}) e
        CROSS JOIN LATERAL (SELECT first, last FROM attestations WHERE first <= e.position ORDER BY first DESC LIMIT 1) s
        WHERE s.last >= e.position
        UNION
        SELECT s.first FROM (SELECT e.position FROM events e WHERE e.stream = {keys} AND e.position <= {size}) e
        CROSS JOIN LATERAL (SELECT first, last FROM attestations WHERE first <= e.position ORDER BY first DESC LIMIT 1) s
        WHERE s.last >= e.position
    ) shown
    JOIN attestations a ON a.first = shown.first
    CROSS JOIN LATERAL (
        SELECT string_agg(sha256(convert_to(e.body, 'UTF8')), ''::bytea ORDER BY e.position) AS stored,
               CASE WHEN cardinality(a.numbered) > 0 THEN
                   string_agg(sha256(convert_to(regexp_replace(e.body, '[0-9]+(","type":"[^"]*"[}}])$', '\1'), 'UTF8')), ''::bytea ORDER BY e.position)
               END AS unnumbered
        FROM events e WHERE e.position BETWEEN a.first AND a.last
    ) d
    ORDER BY a.first
) TO STDOUT (FORMAT BINARY)
