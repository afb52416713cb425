SELECT before, positions, names, versions, times, hashes
FROM erase(
    %(heads)b, %(ids)b, %(streams)b, %(types)b, %(schemas)b, %(expected)b, %(preconditions)b, %(now_us)b,
    %(recorder)b, %(session)b, %(serial)b, %(signature)b, %(digests)b, %(seen)b
)
