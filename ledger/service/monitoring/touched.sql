-- The streams of portfolios, holdings and prices that have events in a range of positions.
SELECT DISTINCT stream FROM events
WHERE position > %(after)s AND position <= %(upto)s
  AND (starts_with(stream, 'portfolio-') OR starts_with(stream, 'holdings-') OR starts_with(stream, 'prices-'))
