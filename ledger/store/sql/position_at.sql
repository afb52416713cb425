-- Select the position of the last event that was recorded at a time or before; 0 without one.
SELECT position_at(%s)
