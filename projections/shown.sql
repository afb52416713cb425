-- Events and the salts of their sealed values, to open the commitments of what a read model shows of them.
SELECT e.position, e.body, s.salts::text
FROM events e
LEFT JOIN sealed_fields s ON s.position = e.position
WHERE e.position = ANY (%s)
