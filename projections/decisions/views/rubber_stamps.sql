-- Signs that somebody approves without looking, by person: approved within ten seconds, approved what they had not
-- opened, long runs of nothing but approvals. Signs, not proof.
WITH counted AS (
    SELECT id, decided_by, outcome, opened_at, seconds_to_decide,
           -- Stays the same from one approval to the next, and changes with everything between.
           row_number() OVER (PARTITION BY decided_by ORDER BY id)
             - row_number() OVER (PARTITION BY decided_by, outcome = 'approve' ORDER BY id) AS run,
           max(id) OVER (PARTITION BY decided_by) AS last_id
    FROM decisions
    WHERE state IN ('effective', 'waiting')
),
runs AS (
    SELECT decided_by, max(length) AS longest, coalesce(max(length) FILTER (WHERE current), 0) AS current
    FROM (
        SELECT decided_by, count(*) AS length, bool_or(id = last_id) AS current
        FROM counted
        WHERE outcome = 'approve'
        GROUP BY decided_by, run
    ) r
    GROUP BY decided_by
)
SELECT c.decided_by,
       count(*) AS decisions,
       count(*) FILTER (WHERE outcome = 'approve') AS approvals,
       count(*) FILTER (WHERE outcome = 'approve' AND seconds_to_decide <= 10) AS quick_approvals,
       round(count(*) FILTER (WHERE outcome = 'approve' AND seconds_to_decide <= 10)::numeric
             / nullif(count(*) FILTER (WHERE outcome = 'approve'), 0), 4) AS quick_share,
       count(*) FILTER (WHERE outcome = 'approve' AND opened_at IS NULL) AS unopened_approvals,
       coalesce(min(r.longest), 0) AS longest_streak,
       coalesce(min(r.current), 0) AS current_streak
FROM counted c
LEFT JOIN runs r ON r.decided_by = c.decided_by
GROUP BY c.decided_by
ORDER BY c.decided_by
