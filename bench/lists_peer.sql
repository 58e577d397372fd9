SELECT trace_id, count(*) AS event_count, min("timestamp") AS first_timestamp, max("timestamp") AS last_timestamp
  FROM trace_ext.events GROUP BY trace_id ORDER BY max("timestamp") DESC, trace_id DESC LIMIT 20;
