-- Who acted beyond their own tenants, on whom, why and when: emergencies first. A row for each user, person in care,
-- tenant, purpose and grant, as in the report. {from:DateTime64(6, 'UTC')} is in the period, {to:DateTime64(6, 'UTC')}
-- is not. Records that were changed do not count; keyed ones do, unchecked: the key stays with `verify`. Calls between
-- services count as the report counts them. What a record does not say itself is empty here, where the report has the
-- user of the request that caused it; and requests with one id for all of them count once.
WITH requests AS
    (
        SELECT
            time, user, subject, purpose, granted, context, decision,
            if(other != '', other, tenant) AS reached,
            if(request != '', request, concat(toString(chain), '/', toString(seq))) AS act
        FROM careplane_audit
        WHERE kind = 'request' AND granted != '' AND NOT unused AND (hash = expected OR key != '')
            AND time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')}
        -- Copies of one record, from whatever sinks.
        LIMIT 1 BY chain, seq
    ),
    -- A request, or a call that it caused, has a record at each proxy.
    acts AS
    (
        SELECT
            user, subject, reached, purpose, granted, act,
            min(time) AS began, groupUniqArray(context) AS contexts, max(decision = 'denied') AS denied
        FROM requests
        GROUP BY user, subject, reached, purpose, granted, act
    )
SELECT
    purpose IN ('BTG', 'ETREAT') AS emergency,
    toString(min(began)) AS first,
    toString(max(began)) AS last,
    user, subject, reached AS tenant, purpose, granted,
    arraySort(groupUniqArrayArray(contexts)) AS contexts,
    toUInt32(count()) AS requests,
    toUInt32(sum(denied)) AS refused
FROM acts
GROUP BY user, subject, reached, purpose, granted
ORDER BY emergency DESC, first, user, subject, tenant
