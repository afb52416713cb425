-- Of the events in a range of positions: whether some are imported; the times at which the first and the last one were recorded,
-- null if there is none; and when the event at one more position took place.
SELECT EXISTS (
           SELECT FROM event_index i WHERE i.imported_by IS NOT NULL AND i.id >= %(from_id)s AND i.id < %(before_id)s
       ) AS has_imported,
       (SELECT i.created_at FROM event_index i WHERE i.id >= %(from_id)s ORDER BY i.id LIMIT 1) AS earliest,
       (SELECT i.created_at FROM event_index i WHERE i.id < %(before_id)s ORDER BY i.id DESC LIMIT 1) AS latest,
       (SELECT i.occurred_at FROM event_index i WHERE i.id = %(beyond_id)s) AS beyond_time
