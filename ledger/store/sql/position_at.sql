-- The position of the last event recorded at a time or before; 0 if there is none.
SELECT position_at(%s)
