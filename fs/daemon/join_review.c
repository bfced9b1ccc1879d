/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans of joins as JSON. */
#include "join_review.h"

#include <errno.h>

#include "array.h"
#include "escaped_name.h"
#include "util.h"

enum { PLAN_VERSION = 1 };

static const struct {
	const char *name;
	int choice;
} choice_names[] = {
        {"ours", JOIN_OURS}, {"theirs", JOIN_THEIRS}, {"both", JOIN_BOTH}};

/* A row of the plan as it is now. */
struct plan_row {
	const struct join_inode *inode;
	char op;
	size_t row; /* of the edited plan, that stands for this; 0: none yet */
};

struct reading {
	struct control *c;
	struct join_review *review;
	struct plan_row *rows;
	size_t count, room;
	json_t *by_path; /* path: array of indices of rows */
	size_t at;       /* the row of the edited plan being read, from 1 on */
};

/* ---- Making ------------------------------------------------------------- */

static json_t *side_json(struct control *c, uint64_t number,
                         const struct fs_joined *joined, enum join_side side)
{
	const struct state_hold *hold =
	        side == JOIN_OURS ? &joined->now.before : &joined->theirs;
	char digest[JOIN_DIGEST_SIZE];
	json_t *name = NULL;
	struct state *state;
	json_int_t version;

	if (fs_joined_digest(joined, side, digest))
		return NULL;
	store_lock(c->store);
	if (!state_get(c->forest, number, &state))
		name = control_full_name(c, state);
	version = (json_int_t)hold_version(hold);
	store_unlock(c->store);
	return json_pack("{s:o, s:I, s:I, s:s}", "name",
	                 name ? name : json_null(), "state", (json_int_t)number,
	                 "version", version, "changes", digest);
}

json_t *join_plan_json(struct control *c, const struct fs_join *what,
                       const struct fs_joined *joined)
{
	json_t *bases = json_array();

	for (unsigned i = 0; i < joined->base_count; i++)
		json_array_append_new(bases,
		                      json_integer((json_int_t)hold_version(
		                              &joined->bases[i])));
	return json_pack("{s:i, s:o, s:o, s:o}", "plan", PLAN_VERSION, "source",
	                 side_json(c, what->from, joined, JOIN_THEIRS), "into",
	                 side_json(c, what->into, joined, JOIN_OURS), "bases",
	                 bases);
}

/* Return true if the inode permits the choice. */
static bool is_open(const struct join_inode *inode, int choice)
{
	unsigned kinds = inode->conflicts | inode->decided;

	if (inode->copy)
		return false;
	return choice != JOIN_BOTH || (kinds && !(kinds & ~inode->both));
}

json_t *join_choices_json(const struct join_inode *inode)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(choice_names); i++) {
		if (is_open(inode, choice_names[i].choice))
			json_array_append_new(
			        array, json_string(choice_names[i].name));
	}
	return array;
}

/* ---- Reading ------------------------------------------------------------ */

/* Check a side of an edited plan against the state's present changes. */
static int side_check(struct control *c, json_t *edited, const char *key,
                      const struct fs_join *what,
                      const struct fs_joined *joined)
{
	bool is_into = !strcmp(key, "into");
	enum join_side side = is_into ? JOIN_OURS : JOIN_THEIRS;
	uint64_t number = is_into ? what->into : what->from;
	json_t *given = json_object_get(edited, key);
	json_t *name = json_object_get(given, "name");
	const char *changes =
	        json_string_value(json_object_get(given, "changes"));
	char digest[JOIN_DIGEST_SIZE], text[STATE_NAME_MAX] = "?";
	int err;

	if (!changes || !json_is_integer(json_object_get(given, "state")))
		return fail(c, -EINVAL,
		            "this is no plan of coppice join -n --json: it has "
		            "no \"%s\" with \"state\" and \"changes\"",
		            key);
	name_unescape(name, text, sizeof(text));
	if ((uint64_t)json_integer_value(json_object_get(given, "state")) !=
	    number)
		return fail(c, -EINVAL,
		            is_into ? "the plan is for a join into '%s'"
		                    : "the plan is for a join of '%s'",
		            text);
	err = fs_joined_digest(joined, side, digest);
	if (err)
		return fail(c, err, "out of memory");
	if (strcmp(digest, changes) != 0)
		return fail(c, -ESTALE,
		            "the plan is stale: '%s' has changed since it was "
		            "made",
		            text);
	return 0;
}

static int row_note(void *arg, const struct fs_join_row *row)
{
	struct reading *r = arg;
	json_t *path = name_escape(row->path);
	const char *key = json_string_value(path);
	json_t *indices = key ? json_object_get(r->by_path, key) : NULL;
	struct plan_row *added = array_add(&r->rows, &r->count, &r->room);
	int err = !path || !added ? -ENOMEM : 0;

	if (!err && !indices) {
		indices = json_array();
		if (json_object_set_new(r->by_path, key, indices) < 0)
			err = -ENOMEM;
	}
	if (!err) {
		*added = (struct plan_row){row->inode, (char)row->op, 0};
		if (json_array_append_new(
		            indices, json_integer((json_int_t)r->count - 1)))
			err = -ENOMEM;
	}
	json_decref(path);
	return err;
}

/* Return true if "inode" and "op", where given, are those of the row. */
static bool row_fits(const struct plan_row *row, json_t *ino, json_t *op)
{
	if (json_is_integer(ino) &&
	    (uint64_t)json_integer_value(ino) != row->inode->ino)
		return false;
	return !json_is_string(op) || *json_string_value(op) == row->op;
}

/* Find the plan's row that a row of the edited plan stands for. */
static int row_find(struct reading *r, json_t *edited, const char *path,
                    struct plan_row **ret_row)
{
	json_t *indices = json_object_get(r->by_path, path), *index;
	json_t *ino = json_object_get(edited, "inode");
	json_t *op = json_object_get(edited, "op");
	struct plan_row *found = NULL;
	bool many = false;
	size_t i;

	json_array_foreach(indices, i, index)
	{
		struct plan_row *row = &r->rows[json_integer_value(index)];

		if (!row_fits(row, ino, op))
			continue;
		many |= found && found->inode != row->inode;
		if (!found || found->row)
			found = row;
	}
	if (!found)
		return fail(r->c, -EINVAL,
		            "row %zu of the plan: the join has nothing to do "
		            "at '%s'",
		            r->at, path);
	if (many)
		return fail(r->c, -EINVAL,
		            "row %zu of the plan: several files are called "
		            "'%s', and \"inode\" does not tell which",
		            r->at, path);
	if (found->row)
		return fail(r->c, -EINVAL,
		            "row %zu of the plan: '%s' is in row %zu already",
		            r->at, path, found->row);
	found->row = r->at;
	*ret_row = found;
	return 0;
}

static int choice_read(struct reading *r, json_t *choose, const char *path,
                       int *ret_choice)
{
	const char *name = json_string_value(choose);

	*ret_choice = JOIN_NOBODY;
	if (!choose || json_is_null(choose))
		return 0;
	for (size_t i = 0; name && i < ARRAY_SIZE(choice_names); i++) {
		if (!strcmp(name, choice_names[i].name))
			*ret_choice = choice_names[i].choice;
	}
	if (*ret_choice != JOIN_NOBODY)
		return 0;
	return fail(r->c, -EINVAL,
	            "row %zu of the plan: \"choose\" of '%s' is not ours, "
	            "theirs, both or null",
	            r->at, path);
}

static int choice_add(struct reading *r, const struct plan_row *row,
                      const char *path, int choice)
{
	struct join_review *review = r->review;
	size_t at = array_lower_bound(review->choices, review->count,
	                              row->inode->ino);
	struct join_choice *choices = review->choices;

	if (at < review->count && choices[at].ino == row->inode->ino)
		return choices[at].choice == choice
		               ? 0
		               : fail(r->c, -EINVAL,
		                      "rows %zu and %zu of the plan choose "
		                      "differently for one file, '%s'",
		                      choices[at].row, r->at, path);
	if (!array_add(&review->choices, &review->count, &review->room))
		return fail(r->c, -ENOMEM, "out of memory");
	choices = review->choices;
	memmove(choices + at + 1, choices + at,
	        (review->count - 1 - at) * sizeof(*choices));
	choices[at] = (struct join_choice){row->inode->ino, choice, r->at};
	return 0;
}

static int row_read(struct reading *r, json_t *edited)
{
	const char *path = json_string_value(json_object_get(edited, "path"));
	struct plan_row *row = NULL;
	int choice, err;

	if (!path)
		return fail(r->c, -EINVAL,
		            "row %zu of the plan is not an object with a "
		            "\"path\"",
		            r->at);
	err = row_find(r, edited, path, &row);
	if (!err)
		err = choice_read(r, json_object_get(edited, "choose"), path,
		                  &choice);
	if (err || choice == JOIN_NOBODY)
		return err;
	if (!is_open(row->inode, choice))
		return fail(
		        r->c, -EINVAL,
		        row->inode->copy
		                ? "row %zu of the plan: '%s' is kept beside "
		                  "another file, whose row chooses"
		                : "row %zu of the plan: \"both\" cannot be "
		                  "chosen for '%s'",
		        r->at, path);
	return choice_add(r, row, path, choice);
}

static int rows_read(struct reading *r, json_t *edited,
                     const struct fs_joined *joined)
{
	json_t *rows = json_object_get(edited, "rows"), *row;
	size_t i;
	int err;

	if (!json_is_array(rows))
		return fail(r->c, -EINVAL, "the plan has no \"rows\"");
	err = fs_joined_rows(r->c->fs, joined, true, row_note, r);
	if (err)
		return fail(r->c, err, "cannot compare with the plan: %s",
		            control_reason(err));
	json_array_foreach(rows, i, row)
	{
		r->at = i + 1;
		err = row_read(r, row);
		if (err)
			return err;
	}
	return 0;
}

int join_review_read(struct join_review *review, struct control *c,
                     json_t *edited, const struct fs_join *what,
                     const struct fs_joined *joined)
{
	struct reading r = {.c = c, .review = review};
	json_t *version = json_object_get(edited, "plan");
	int err;

	review->count = 0;
	if (!json_is_integer(version))
		return fail(c, -EINVAL,
		            "this is no plan of coppice join -n --json: it has "
		            "no \"plan\" with its version");
	if (json_integer_value(version) != PLAN_VERSION)
		return fail(c, -EINVAL,
		            "the plan has version %lld, and this program reads "
		            "version %d",
		            (long long)json_integer_value(version),
		            PLAN_VERSION);
	err = side_check(c, edited, "source", what, joined);
	if (!err)
		err = side_check(c, edited, "into", what, joined);
	if (err)
		return err;
	r.by_path = json_object();
	err = r.by_path ? rows_read(&r, edited, joined)
	                : fail(c, -ENOMEM, "out of memory");
	json_decref(r.by_path);
	free(r.rows);
	return err ? err : review->count != 0;
}

void join_review_release(struct join_review *review)
{
	free(review->choices);
	*review = (struct join_review){0};
}

int join_review_choice(const struct join_review *review,
                       const struct join_inode *inode)
{
	const struct join_choice *found =
	        array_find(review->choices, review->count, inode->ino);

	return found && !inode->copy ? found->choice : JOIN_NOBODY;
}
