-- Select the highest number in use in each of these categories of streams, and whether append() has given out a number
-- yet.
SELECT n.category, coalesce(k.last, last_number(n.category)), k.last IS NOT NULL
FROM unnest(%(categories)s::text[]) AS n (category)
LEFT JOIN stream_numbers k ON k.category = n.category
