/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_diff.h"

#include <errno.h>

#include "content_rows.h"
#include "control_list.h"
#include "control_path.h"
#include "escaped_name.h"
#include "util.h"

enum { PATHS_MAX = 1024 };

struct comparing {
	struct control *c;
	struct control_hold a, b;
	char **paths;
	size_t path_count;
	bool patch;
};

const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "character device";
	default:
		return "block device";
	}
}

/* ---- Rows --------------------------------------------------------------- */

json_t *diff_fields_json(unsigned fields)
{
	json_t *array = json_array();

	for (unsigned i = 0; diff_field_name(i); i++) {
		if (fields & 1u << i)
			json_array_append_new(array,
			                      json_string(diff_field_name(i)));
	}
	return array;
}

/* Return a size; directories have none. */
static json_t *size_json(bool there, const struct inode *inode)
{
	return there && !S_ISDIR(inode->mode)
	               ? json_integer((json_int_t)inode->size)
	               : json_null();
}

static json_t *row_json(const struct diff_row *row)
{
	bool removed = row->op == DIFF_REMOVED;
	const struct inode *inode = removed ? &row->a : &row->b;
	const char op[] = {(char)row->op, 0};

	return json_pack(
	        "{s:s, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o}", "op", op,
	        "path", name_escape(row->path), "from",
	        *row->from ? name_escape(row->from) : json_null(), "type",
	        type_name(inode->mode), "inode",
	        (json_int_t)(removed ? row->a_ino : row->b_ino), "size",
	        size_json(!removed && row->has_b, &row->b), "old_size",
	        size_json(row->op != DIFF_ADDED && row->has_a, &row->a),
	        "fields", diff_fields_json(row->fields), "time",
	        control_time(inode->ctime.sec * 1000000000 +
	                     inode->ctime.nsec));
}

static bool has_content(uint32_t mode)
{
	return S_ISREG(mode) || S_ISLNK(mode);
}

/* ---- Patches ------------------------------------------------------------ */

/* The two sides of a row whose content is to be shown. */
struct sides {
	bool a, b;
	bool text;
};

static int sides_get(struct comparing *m, const struct diff_row *row,
                     struct sides *ret_sides)
{
	struct sides sides = {
	        .a = row->op != DIFF_ADDED && row->has_a &&
	             has_content(row->a.mode),
	        .b = row->op != DIFF_REMOVED && row->has_b &&
	             has_content(row->b.mode),
	        .text = true,
	};
	int err = 0;

	if (sides.a)
		err = content_is_text(hold_tree(&m->a.hold), row->a_ino,
		                      row->a.size, &sides.text);
	if (!err && sides.b && sides.text)
		err = content_is_text(hold_tree(&m->b.hold), row->b_ino,
		                      row->b.size, &sides.text);
	*ret_sides = sides;
	return err;
}

static int patch_send(struct comparing *m, const struct diff_row *row,
                      const struct sides *sides)
{
	int err = 0;

	if (!sides->text)
		return 0;
	if (sides->a)
		err = content_rows_send(m->c, hold_tree(&m->a.hold), row->a_ino,
		                        row->a.size, "a");
	if (!err && sides->b)
		err = content_rows_send(m->c, hold_tree(&m->b.hold), row->b_ino,
		                        row->b.size, "b");
	return err;
}

/* Return true if the file's content differs or only one side has the file. */
static bool row_has_patch(const struct diff_row *row)
{
	if (row->op == DIFF_ADDED || row->op == DIFF_REMOVED)
		return has_content(row->op == DIFF_ADDED ? row->b.mode
		                                         : row->a.mode);
	return row->fields & DIFF_CONTENT;
}

static int json_send(struct control *c, json_t *json)
{
	if (!json)
		return -ENOMEM;
	c->ended = c->fn ? c->fn(c->arg, json) : 0;
	json_decref(json);
	return c->ended;
}

/* ---- Two trees ---------------------------------------------------------- */

static int tree_row(void *arg, const struct diff_row *row)
{
	return json_send(arg, row_json(row));
}

int control_diff_trees(struct control *c, struct tree *a, struct tree *b)
{
	const struct diff_options options = {.row = tree_row, .arg = c};
	int err = state_diff(a, b, &options);

	if (c->ended)
		return c->ended;
	return err < 0 ? fail(c, err, "cannot compare: %s", control_reason(err))
	               : 0;
}

/* ---- The verb ----------------------------------------------------------- */

static int on_row(void *arg, const struct diff_row *row)
{
	struct comparing *m = arg;
	struct sides sides = {0};
	json_t *json;
	bool patch = m->patch && row_has_patch(row);
	int err = patch ? sides_get(m, row, &sides) : 0;

	if (err)
		return err;
	json = row_json(row);
	if (json && patch &&
	    json_object_set_new(json, "text", json_boolean(sides.text)) < 0) {
		json_decref(json);
		json = NULL;
	}
	err = json_send(m->c, json);
	return !err && patch ? patch_send(m, row, &sides) : err;
}

static void comparing_release(struct comparing *m)
{
	control_release(m->c, &m->a);
	control_release(m->c, &m->b);
	for (size_t i = 0; i < m->path_count; i++)
		free(m->paths[i]);
	free(m->paths);
}

/* Add a path to m->paths; put a slash before it if it has none. */
static int path_take(struct comparing *m, const json_t *value)
{
	char path[TREE_PATH_SIZE];
	int err = name_unescape(value, path, sizeof(path));

	if (err < 0)
		return fail(m->c, err, "a path of \"paths\" cannot be read");
	if (asprintf(&m->paths[m->path_count], "%s%s", *path == '/' ? "" : "/",
	             path) < 0)
		return fail(m->c, -ENOMEM, "out of memory");
	m->path_count++;
	return 0;
}

static int paths_get(struct comparing *m)
{
	const json_t *paths = json_object_get(m->c->request, "paths");
	size_t count = json_array_size(paths);
	int err = 0;

	if (count > PATHS_MAX)
		return fail(m->c, -E2BIG, "there are more than %d paths",
		            PATHS_MAX);
	m->paths = calloc(count + 1, sizeof(*m->paths));
	if (!m->paths)
		return fail(m->c, -ENOMEM, "out of memory");
	for (size_t i = 0; !err && i < count; i++)
		err = path_take(m, json_array_get(paths, i));
	return err;
}

/* Fail if a path is in neither state: a mistake, not equality. */
static int paths_check(struct comparing *m)
{
	struct inode inode;
	uint64_t ino;
	int err = 0;

	for (size_t i = 0; !err && i < m->path_count; i++) {
		store_lock(m->c->store);
		err = tree_path_find(hold_tree(&m->a.hold), m->paths[i], &ino,
		                     &inode);
		if (err)
			err = tree_path_find(hold_tree(&m->b.hold), m->paths[i],
			                     &ino, &inode);
		store_unlock(m->c->store);
		if (err == -ENOENT || err == -ENOTDIR)
			return fail(m->c, -ENOENT,
			            "'%s' is neither in '%s' nor in '%s'",
			            m->paths[i], m->a.name, m->b.name);
	}
	return err < 0 ? fail(m->c, err, "cannot compare: %s",
	                      control_reason(err))
	               : 0;
}

static int compare(struct comparing *m)
{
	const struct diff_options options = {
	        .all = control_flag(m->c, "all"),
	        .paths = (const char *const *)m->paths,
	        .path_count = m->path_count,
	        .row = on_row,
	        .arg = m,
	};
	int err = state_diff(hold_tree(&m->a.hold), hold_tree(&m->b.hold),
	                     &options);

	if (m->c->ended)
		return m->c->ended;
	return err < 0 ? fail(m->c, err, "cannot compare '%s' with '%s': %s",
	                      m->a.name, m->b.name, control_reason(err))
	               : 0;
}

int control_diff(struct control *c)
{
	_cleanup_(comparing_release) struct comparing m = {
	        .c = c, .patch = control_flag(c, "patch")};
	char a[STATE_NAME_MAX], b[STATE_NAME_MAX];
	int err = control_argument(c, "a", true, a);

	if (!err)
		err = control_argument(c, "b", true, b);
	if (!err)
		err = paths_get(&m);
	if (!err)
		err = control_hold(c, "compare", a, &m.a);
	if (!err)
		err = control_hold(c, "compare", b, &m.b);
	if (!err)
		err = paths_check(&m);
	return err ? err : compare(&m);
}
