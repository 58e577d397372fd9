-- Pictures: SVG for people, DOT and folded stacks for the tools that draw them.

CREATE FUNCTION race_svg(finding_id uuid) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_race_svg';
COMMENT ON FUNCTION race_svg(uuid) IS
    'a finding as an SVG: two lanes, one a trace, or where both are of one trace one a strand; what each read and wrote, in order, with values and places in the code, '
    'the lost value struck out, the sentence, and what to do about it; NULL, and a NOTICE, for a finding that is not known';

CREATE FUNCTION race_svg(finding_id text) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT trace_ext.race_svg($1::uuid);
    END;
COMMENT ON FUNCTION race_svg(text) IS 'the same, with the id as text';
