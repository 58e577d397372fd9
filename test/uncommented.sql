-- Every object of the extension that has no comment. What belongs to another
-- object (the sequence of an identity column, the types of rows and arrays) is
-- explained by that one.
SELECT pg_describe_object(d.classid, d.objid, 0)
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname IN ('trace_ext', 'trace_ext_router') ORDER BY extname DESC LIMIT 1)
  AND d.deptype = 'e'
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
  AND NOT EXISTS (
      SELECT FROM pg_depend i
      WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i')
  AND NOT EXISTS (
      SELECT FROM pg_type t
      WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
        AND (t.typrelid <> 0 OR t.typsubscript = 'array_subscript_handler'::regproc))
ORDER BY 1;
