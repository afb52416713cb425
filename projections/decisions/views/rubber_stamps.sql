-- Signs that a person approves without looking: approvals within ten seconds, approvals of recommendations that the
-- person had not opened, long runs of nothing but approvals. By person and part: `first` decides, `second` confirms.
-- These are signs, not proof.
WITH taken AS (
    SELECT decided_by AS person, 'first' AS part, created_at AS acted_at, id, outcome = 'approve' AS approved,
           seconds_to_decide <= 10 AS quick, opened_at IS NULL AS unopened
    FROM decisions
    WHERE state IN ('effective', 'waiting')
    UNION ALL
    -- A confirmer approves or declines. Declining counts as a decision, and it ends a run of approvals.
    SELECT confirmed_by AS person, 'second' AS part, confirmed_at AS acted_at, id, confirmation = 'approve' AS approved,
           seconds_to_confirm <= 10 AS quick, second_opened_at IS NULL AS unopened
    FROM decisions
    WHERE confirmation IS NOT NULL
),
counted AS (
    SELECT person, part, approved, quick, unopened,
           -- The number of a run: the same for approvals that follow each other, another one after anything else.
           row_number() OVER (PARTITION BY person, part ORDER BY acted_at, id)
             - row_number() OVER (PARTITION BY person, part, approved ORDER BY acted_at, id) AS run,
           lead(id) OVER (PARTITION BY person, part ORDER BY acted_at, id) IS NULL AS is_last
    FROM taken
),
runs AS (
    SELECT person, part, max(length) AS longest, coalesce(max(length) FILTER (WHERE current), 0) AS current
    FROM (
        SELECT person, part, count(*) AS length, bool_or(is_last) AS current
        FROM counted
        WHERE approved
        GROUP BY person, part, run
    ) each_run
    GROUP BY person, part
)
SELECT c.person, c.part,
       count(*) AS decisions,
       count(*) FILTER (WHERE approved) AS approvals,
       count(*) FILTER (WHERE approved AND quick) AS quick_approvals,
       round(count(*) FILTER (WHERE approved AND quick)::numeric
             / nullif(count(*) FILTER (WHERE approved), 0), 4) AS quick_share,
       count(*) FILTER (WHERE approved AND unopened) AS unopened_approvals,
       coalesce(min(r.longest), 0) AS longest_streak,
       coalesce(min(r.current), 0) AS current_streak
FROM counted c
LEFT JOIN runs r ON r.person = c.person AND r.part = c.part
GROUP BY c.person, c.part
ORDER BY c.person, c.part
