-- Who acted beyond their own tenants, on whom, why and when: emergencies first. A row for each user, person in care,
-- tenant, purpose and grant, as in the report. {from:DateTime64(6, 'UTC')} is in the period, {to:DateTime64(6, 'UTC')}
-- is not. Records that were changed do not count; keyed ones do, unchecked: the key stays with `verify`. Calls between
-- services count as the report counts them. What a record does not say itself is empty here, where the report has the
-- user of the request that caused it; and requests with one id for all of them count once.
WITH requests AS
    (
        SELECT
            time, time + toIntervalMicrosecond(JSONExtractUInt(record, 'outcome', 'durationMicros')) AS ended,
            chain, user, subject, purpose, granted, context, decision,
            if(other != '', other, tenant) AS reached,
            if(request != '', request, concat(toString(chain), '/', toString(seq))) AS act
        FROM careplane_audit
        WHERE kind = 'request' AND granted != '' AND NOT unused AND (hash = expected OR key != '')
            AND time >= {from:DateTime64(6, 'UTC')} - INTERVAL 1 DAY AND time < {to:DateTime64(6, 'UTC')}
        -- Copies of one record, from whatever sinks.
        LIMIT 1 BY chain, seq
    ),
    -- A request, or a call that it caused, has a record at each proxy.
    acts AS
    (
        SELECT
            user, subject, reached, purpose, granted, act,
            -- What was under way when the period began is of the day before, and so are its hops: on other proxies, and
            -- over before it was, with a tenth of a second between clocks.
            groupArrayIf((chain, ended), time < {from:DateTime64(6, 'UTC')}) AS before,
            arrayFilter(
                hop -> NOT arrayExists(
                    one -> one.1 != hop.1 AND hop.2 <= one.2 + INTERVAL 100 MILLISECOND, before),
                groupArrayIf((chain, ended, time, context, decision), time >= {from:DateTime64(6, 'UTC')})) AS records
        FROM requests
        GROUP BY user, subject, reached, purpose, granted, act
        HAVING notEmpty(records)
    )
SELECT
    purpose IN ('BTG', 'ETREAT') AS emergency,
    toString(min(arrayMin(records.3))) AS first,
    toString(max(arrayMin(records.3))) AS last,
    user, subject, reached AS tenant, purpose, granted,
    arraySort(groupUniqArrayArray(records.4)) AS contexts,
    toUInt32(count()) AS requests,
    toUInt32(sum(has(records.5, 'denied'))) AS refused
FROM acts
GROUP BY user, subject, reached, purpose, granted
ORDER BY emergency DESC, first, user, subject, tenant
