-- The newest proposals of changes of subjects: positions, streams and times. A change is pending for seven days at most.
SELECT i.id, i.stream, i.created_at FROM event_index i WHERE i.type = %(type)s ORDER BY i.id DESC LIMIT %(most)s
