-- Select the bodies of a part of the chain, in order, each with the attestation that begins there:
-- ledger/store/attested.py.
COPY (
    SELECT e.position, e.body,
           CASE WHEN a.first IS NOT NULL THEN json_build_array(a.first, a.last, encode(a.key, 'hex'), encode(a.session, 'hex'), a.serial,
                            encode(a.signature, 'hex'), a.numbered, a.replayed, encode(a.digests, 'hex')) END::text
    FROM events e
    LEFT JOIN attestations a ON a.first = e.position
    WHERE e.position > {after} AND e.position <= {upto}
    ORDER BY e.position
) TO STDOUT (FORMAT BINARY)
