-- The verdict on each chain, as `careplane audit verify` has it. {as_of:DateTime64(6, 'UTC')} is the time at which
-- chains without an end are
-- judged: now, or the newest time in the table for archives of old. Keyed chains are `unverified` here: the key stays
-- with `verify`.
WITH
    records AS
    (
        SELECT
            chain, seq, prev, hash, key, kind, time,
            multiIf(
                match(hash, '^[0-9a-f]{64}$') = 0, 'changed',
                key != '', 'unverified',
                hash = expected, 'valid',
                'changed') AS state
        FROM careplane_audit
        WHERE seq > 0 AND chain != toUUID('00000000-0000-0000-0000-000000000000')
    ),
    -- The different records of one number. Changed ones stand for it only where there is no other.
    numbers AS
    (
        SELECT
            chain, seq,
            groupUniqArrayIf(hash, state != 'changed') AS hashes,
            -- A record whose key is not here can carry the hash of any other.
            uniqExactIf((hash, records.key), state != 'changed') AS different,
            groupUniqArrayIf(prev, state != 'changed') AS prevs,
            countIf(state = 'changed') AS edited,
            max(state = 'unverified') AS unverified,
            maxIf(key, state != 'changed') AS key,
            max(kind = 'end' AND state != 'changed') AS is_end,
            max(kind IN ('start', 'head', 'end') AND state != 'changed') AS checkpoint,
            maxIf(time, state != 'changed') AS until
        FROM records
        GROUP BY chain, seq
    ),
    linked AS
    (
        SELECT
            *,
            lagInFrame(seq, 1, 0) OVER w AS seq_before,
            lagInFrame(hashes, 1, [repeat('0', 64)]) OVER w AS hashes_before,
            lagInFrame(key, 1, '') OVER w AS key_before,
            lagInFrame(is_end, 1, 0) OVER w AS end_before,
            -- What the chain itself said last.
            maxIf(seq, checkpoint) OVER c AS said_seq,
            argMaxIf(until, seq, checkpoint) OVER c AS said
        FROM numbers
        WINDOW
            w AS (PARTITION BY chain ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
            c AS (PARTITION BY chain)
    ),
    chains AS
    (
        SELECT
            chain,
            max(seq) AS last,
            sum(edited) AS edits,
            sum(seq - seq_before - 1) AS missing,
            countIf(
                seq = seq_before + 1 AND notEmpty(hashes) AND notEmpty(hashes_before)
                AND NOT hasAny(prevs, hashes_before)) AS breaks,
            countIf(different > 1) AS conflicts,
            countIf(end_before = 1) AS after_end,
            countIf(key_before != '' AND notEmpty(hashes) AND key != key_before) AS key_changes,
            max(unverified) AS is_unverified,
            argMax(is_end, seq) AS has_ended,
            max(checkpoint) AS checkpoints,
            -- Heard last, and not the greatest time: a clock that was wrong once shows nothing of the end.
            if(
                max(said_seq) = 0,
                max(until),
                greatest(max(said), argMaxIf(until, seq, notEmpty(hashes)))) AS heard
        FROM linked
        GROUP BY chain
    )
SELECT
    toString(chain) AS chain,
    multiIf(
        edits + missing + breaks + conflicts + after_end + key_changes > 0, 'broken',
        is_unverified, 'unverified',
        has_ended, 'complete',
        checkpoints AND (
            dateDiff('microsecond', heard, {as_of:DateTime64(6, 'UTC')}) > 180000000
            -- A time that is yet to come is one of a wrong clock.
            OR dateDiff('microsecond', greatest({as_of:DateTime64(6, 'UTC')}, now64(6, 'UTC')), heard) > 180000000
        ), 'cut',
        'open') AS verdict,
    last, missing, edits, breaks, conflicts, after_end, key_changes
FROM chains
ORDER BY chain
