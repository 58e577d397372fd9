/*
 * proof.c
 *		What the values that accesses carry prove.
 *
 * Clients may serialise objects long after the access, so only scalars are
 * evidence.  Values that are equal do not show that nothing happened in between;
 * values that differ show that something did.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "races/proof.h"

/* Whether a value is JSON's null. */
static bool
is_null(Jsonb *value)
{
	JsonbValue	scalar;

	return JB_ROOT_IS_SCALAR(value) && JsonbExtractScalar(&value->root, &scalar) && scalar.type == jbvNull;
}

/*
 * Compares two values, either of which may be NULL. Only scalars of one type are known to be equal
 * or different; numbers are compared as numbers, 1 and 1.0 are equal.
 */
TexComparison
tex_compare_values(Jsonb *a, Jsonb *b)
{
	JsonbValue	x;
	JsonbValue	y;
	bool		equal;

	if (a == NULL || b == NULL ||
		!JB_ROOT_IS_SCALAR(a) || !JB_ROOT_IS_SCALAR(b) ||
		!JsonbExtractScalar(&a->root, &x) || !JsonbExtractScalar(&b->root, &y) ||
		x.type != y.type)
		return TEX_VALUES_UNKNOWN;
	switch (x.type)
	{
		case jbvNumeric:
			equal = DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(x.val.numeric),
													 NumericGetDatum(y.val.numeric)));
			break;
		case jbvString:
			equal = x.val.string.len == y.val.string.len &&
				memcmp(x.val.string.val, y.val.string.val, x.val.string.len) == 0;
			break;
		case jbvBool:
			equal = x.val.boolean == y.val.boolean;
			break;
		default:
			return TEX_VALUES_UNKNOWN;
	}
	return equal ? TEX_VALUES_EQUAL : TEX_VALUES_DIFFERENT;
}

/*
 * The same of what a column held: SQL has NULL there, which JSON's null stands for and which is not
 * any other value; no value at all is unknown still.
 */
TexComparison
tex_compare_columns(Jsonb *a, Jsonb *b)
{
	bool		a_is_null;
	bool		b_is_null;

	if (a == NULL || b == NULL)
		return TEX_VALUES_UNKNOWN;
	a_is_null = is_null(a);
	b_is_null = is_null(b);
	if (a_is_null || b_is_null)
		return a_is_null && b_is_null ? TEX_VALUES_EQUAL : TEX_VALUES_DIFFERENT;
	return tex_compare_values(a, b);
}

/* What an access read or wrote, or NULL. Some clients give what was read as the old value. */
Jsonb *
tex_value_of(const TexEvent *access)
{
	if (access->data->new_value == NULL && access->access == TEX_READ)
		return access->data->old_value;
	return access->data->new_value;
}

/* Whether a write found what was there before a remote write, as far as that is known. */
static bool
found_what_was(const TexEvent *before, const TexEvent *remote, Jsonb *found)
{
	return tex_compare_values(remote->data->old_value, found) == TEX_VALUES_EQUAL ||
		(before && tex_compare_values(tex_value_of(before), found) == TEX_VALUES_EQUAL);
}

/*
 * Whether values prove that a write lost the update of a remote write that came
 * after what its own trace did before (which may be unknown).
 *
 * What the remote write put there must be known, be a change, and be gone: who
 * writes the same value again, as a retry does, may have lost something, but that
 * shows nowhere.
 *
 * Then, either the trace read one value and its write found another, which the
 * remote write had put there; or the write replaced the value that the remote
 * write, the latest before it, had already replaced.  A value that is neither was
 * put there by somebody else, of whom nothing may be known.  The second is no proof
 * if the remote write itself found what this one wrote: then it came after.
 */
bool
tex_proves_lost_update(const TexEvent *before, const TexEvent *remote,
					   const TexEvent *write, bool remote_is_latest)
{
	Jsonb	   *put = tex_value_of(remote);
	Jsonb	   *found = write->data->old_value;
	TexComparison put_is_found = tex_compare_values(put, found);

	if (tex_compare_values(put, tex_value_of(write)) != TEX_VALUES_DIFFERENT ||
		tex_compare_values(put, remote->data->old_value) == TEX_VALUES_EQUAL)
		return false;
	if (before && before->access == TEX_READ && put_is_found == TEX_VALUES_EQUAL &&
		tex_compare_values(tex_value_of(before), found) == TEX_VALUES_DIFFERENT)
		return true;
	return remote_is_latest && put_is_found == TEX_VALUES_DIFFERENT &&
		found_what_was(before, remote, found) &&
		tex_compare_values(remote->data->old_value, tex_value_of(write)) != TEX_VALUES_EQUAL;
}

/*
 * Whether a value changed under a trace between two accesses of its own, to what
 * the remote write wrote as far as that is known.
 */
bool
tex_proves_changed(const TexEvent *before, const TexEvent *remote, const TexEvent *after)
{
	return tex_compare_values(tex_value_of(before), tex_value_of(after)) == TEX_VALUES_DIFFERENT &&
		tex_compare_values(tex_value_of(remote), tex_value_of(after)) != TEX_VALUES_DIFFERENT;
}

/*
 * Whether values show that a remote write did not come between a trace's access
 * and its read after: it read its old value still.
 */
bool
tex_refutes_between(const TexEvent *before, const TexEvent *remote, const TexEvent *after)
{
	return tex_compare_values(tex_value_of(before), tex_value_of(after)) == TEX_VALUES_EQUAL &&
		tex_compare_values(tex_value_of(remote), tex_value_of(after)) == TEX_VALUES_DIFFERENT;
}

/*
 * Whether a read got what a write wrote, and not what was there before it.
 */
bool
tex_proves_read_of(const TexEvent *write, const TexEvent *read)
{
	return tex_compare_values(tex_value_of(write), tex_value_of(read)) == TEX_VALUES_EQUAL &&
		tex_compare_values(write->data->old_value, tex_value_of(read)) == TEX_VALUES_DIFFERENT;
}
