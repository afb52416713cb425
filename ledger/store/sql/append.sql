SELECT before, positions, names, versions, times, hashes
FROM append(
    %(heads)b, %(ids)b, %(streams)b, %(types)b, %(schemas)b, %(expected)b, %(preconditions)b,
    %(sealed_lines)b, %(sealed_names)b, %(sealed_salts)b, %(sealed_values)b, %(now_us)b, %(signatures)b,
    %(recorder)b, %(session)b, %(serial)b, %(signature)b, %(digests)b
)
