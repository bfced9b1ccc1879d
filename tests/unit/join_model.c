/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "join_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct join_model model = {.names = {"a", "b", "c", "d", "e"}};

unsigned model_pick(unsigned below)
{
	model.seed = model.seed * UINT64_C(6364136223846793005) +
	             UINT64_C(1442695040888963407);
	return (unsigned)(model.seed >> 33) % below;
}

void model_begin(uint64_t seed)
{
	model.next_ino = 2;
	model.names_used = NAMES;
	model.next_value = 0;
	model.seed = seed * UINT64_C(0x9E3779B97F4A7C15);
}

int model_name(const char *text)
{
	int name = 0;

	while (name < model.names_used && strcmp(model.names[name], text) != 0)
		name++;
	assert_true(name < NAMES_MAX);
	if (name == model.names_used)
		strcpy(model.names[model.names_used++], text);
	return name;
}

/* ---- Trees -------------------------------------------------------------- */

int tree_model_entry(const struct tree_model *t, int parent, int name)
{
	for (int i = 1; i < INODES; i++) {
		for (int n = 0; n < t->files[i].count; n++) {
			if (t->files[i].present &&
			    t->files[i].links[n].parent == parent &&
			    t->files[i].links[n].name == name)
				return i;
		}
	}
	return 0;
}

static bool is_below(const struct tree_model *t, int ino, int above)
{
	for (int steps = 0; ino != INO_ROOT; steps++) {
		if (ino == above || steps > INODES || !t->files[ino].count)
			return true;
		ino = t->files[ino].links[0].parent;
	}
	return above == INO_ROOT;
}

static bool is_empty(const struct tree_model *t, int dir)
{
	for (int n = 0; n < model.names_used; n++) {
		if (tree_model_entry(t, dir, n))
			return false;
	}
	return true;
}

static int any_file(const struct tree_model *t, bool dir)
{
	int found = 0;

	for (int i = 1, seen = 0; i < INODES; i++) {
		if (t->files[i].present && t->files[i].dir == dir &&
		    !model_pick((unsigned)++seen))
			found = i;
	}
	return found;
}

static void unlink_entry(struct tree_model *t, int ino, int at)
{
	struct file *f = &t->files[ino];

	f->links[at] = f->links[--f->count];
	if (!f->count)
		f->present = false;
}

static void make(struct tree_model *t, int parent, int name, bool dir)
{
	if (model.next_ino == INODES)
		return;
	t->files[model.next_ino++] = (struct file){
	        .present = true,
	        .dir = dir,
	        .content = dir ? 0 : ++model.next_value,
	        .mode = 0644,
	        .links = {{parent, name}},
	        .count = 1,
	};
}

static void change_file(struct tree_model *t, int ino)
{
	struct file *f = &t->files[ino];
	struct link place = f->links[model_pick((unsigned)f->count)];
	int dir = any_file(t, true), name = (int)model_pick(NAMES);

	switch (model_pick(7)) {
	case 0:
	case 1:
		f->content = ++model.next_value;
		break;
	case 2:
		unlink_entry(t, ino, (int)model_pick((unsigned)f->count));
		break;
	case 3: /* as editors save */
		if (f->count == 1 && model.next_ino < INODES) {
			unlink_entry(t, ino, 0);
			make(t, place.parent, place.name, false);
		}
		break;
	case 4:
		if (f->count < LINKS && !tree_model_entry(t, dir, name))
			f->links[f->count++] = (struct link){dir, name};
		break;
	case 5:
		if (!tree_model_entry(t, dir, name))
			f->links[model_pick((unsigned)f->count)] =
			        (struct link){dir, name};
		break;
	default:
		f->mode = 0600 + (int)model_pick(64);
		break;
	}
}

static void change_dir(struct tree_model *t, int ino)
{
	int dir = any_file(t, true), name = (int)model_pick(NAMES);

	switch (model_pick(4)) {
	case 0:
		t->files[ino].mode = 0700 + (int)model_pick(64);
		break;
	case 1:
		if (ino != INO_ROOT && is_empty(t, ino))
			unlink_entry(t, ino, 0);
		break;
	default:
		if (ino != INO_ROOT && !tree_model_entry(t, dir, name) &&
		    !is_below(t, dir, ino))
			t->files[ino].links[0] = (struct link){dir, name};
		break;
	}
}

void tree_model_change(struct tree_model *t)
{
	int dir = any_file(t, true), name = (int)model_pick(NAMES);
	int file = any_file(t, false);
	unsigned kind = model_pick(10);

	if (kind < 3 && !tree_model_entry(t, dir, name))
		make(t, dir, name, model_pick(3) == 0);
	else if (kind == 3)
		t->files[model_pick(2) && file ? file : dir].xattr =
		        model_pick(3) ? ++model.next_value : 0;
	else if (kind < 6)
		change_dir(t, dir);
	else if (file)
		change_file(t, file);
}

void tree_model_check(const struct tree_model *t)
{
	for (int i = 1; i < INODES; i++) {
		const struct file *f = &t->files[i];

		if (!f->present || i == INO_ROOT)
			continue;
		assert_true(f->count >= 1);
		assert_true(!f->dir || f->count == 1);
		assert_false(f->dir && is_below(t, f->links[0].parent, i));
		for (int n = 0; n < f->count; n++) {
			int parent = f->links[n].parent;

			assert_true(t->files[parent].present);
			assert_true(t->files[parent].dir);
			assert_int_equal(
			        tree_model_entry(t, parent, f->links[n].name),
			        i);
			for (int j = i + 1; j < INODES; j++) {
				for (int k = 0; k < t->files[j].count; k++)
					assert_false(
					        t->files[j].present &&
					        t->files[j].links[k].parent ==
					                parent &&
					        t->files[j].links[k].name ==
					                f->links[n].name);
			}
		}
	}
}

bool tree_model_equal(const struct tree_model *a, int x,
                      const struct tree_model *b, int y)
{
	const struct file *f = &a->files[x], *g = &b->files[y];

	if (f->dir != g->dir || f->content != g->content ||
	    f->mode != g->mode || f->xattr != g->xattr || f->count != g->count)
		return false;
	for (int n = 0; f->dir && n < model.names_used; n++) {
		int i = tree_model_entry(a, x, n),
		    j = tree_model_entry(b, y, n);

		if (!i != !j || (i && !tree_model_equal(a, i, b, j)))
			return false;
	}
	return true;
}
