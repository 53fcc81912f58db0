-- Who acted beyond their own tenants, on whom, why and when: emergencies first. A row for each user, person in care,
-- tenant, purpose and grant, as in the report. {from:DateTime64(6, 'UTC')} is in the period, {to:DateTime64(6, 'UTC')}
-- is not. Records that were changed do not count; keyed ones do, unchecked: the key stays with `verify`.
WITH requests AS
    (
        SELECT
            time, user, subject, tenant, purpose, granted, context, decision,
            if(request != '', request, concat(toString(chain), '/', toString(seq))) AS act
        FROM careplane_audit
        WHERE kind = 'request' AND granted != '' AND (hash = expected OR key != '')
            AND time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')}
        -- Copies of one record, from whatever sinks.
        LIMIT 1 BY chain, seq
    )
SELECT
    purpose IN ('BTG', 'ETREAT') AS emergency,
    toString(min(time)) AS first,
    toString(max(time)) AS last,
    user, subject, tenant, purpose, granted,
    arraySort(groupUniqArray(context)) AS contexts,
    toUInt32(uniqExact(act)) AS requests,
    toUInt32(uniqExactIf(act, decision = 'denied')) AS refused
FROM requests
GROUP BY user, subject, tenant, purpose, granted
ORDER BY emergency DESC, first, user, subject, tenant
