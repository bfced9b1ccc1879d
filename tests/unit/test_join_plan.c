/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The planner of joins against a model: small trees in arrays, random histories
 * of changes and joins between three states in every direction, and the graph
 * of versions with all common ancestors as bases.
 *
 * COPPICE_SEED runs one history alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "join_plan.h"
#include "util.h"

enum {
	INODES = 96, /* numbers; they are never given out twice */
	LINKS = 4,
	LINKS_MAX = 64, /* that joins bring together */
	NAMES = 5,      /* that changes give; joins make up others */
	NAMES_MAX = 256,
	VERSIONS = 60,
	STATES = 3,
	HISTORIES = 100000,
};

struct link {
	int parent, name;
};

struct file {
	bool present, dir;
	int content, mode, xattr; /* xattr 0: none */
	struct link links[LINKS_MAX];
	int count;
};

struct tree_model {
	struct file files[INODES];
};

struct history {
	struct tree_model trees[VERSIONS];
	uint64_t contains[VERSIONS]; /* bits of versions */
	int versions;
	int next_ino, next_value;
	int heads[STATES];
	uint64_t seed;
};

static struct history h;
static uint64_t joins, conflicts, criss_cross, united, running;
static uint64_t kept_both, left_alone;

static unsigned pick(unsigned below)
{
	h.seed = h.seed * UINT64_C(6364136223846793005) +
	         UINT64_C(1442695040888963407);
	return (unsigned)(h.seed >> 33) % below;
}

static char names[NAMES_MAX][NAME_LEN_MAX + 1] = {"a", "b", "c", "d", "e"};
static int names_used; /* of them, by the history */

static int name_number(const char *text)
{
	int name = 0;

	while (name < names_used && strcmp(names[name], text) != 0)
		name++;
	assert_true(name < NAMES_MAX);
	if (name == names_used)
		strcpy(names[names_used++], text);
	return name;
}

/* ---- Trees -------------------------------------------------------------- */

static int entry(const struct tree_model *t, int parent, int name)
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
	for (int n = 0; n < names_used; n++) {
		if (entry(t, dir, n))
			return false;
	}
	return true;
}

static int any_file(const struct tree_model *t, bool dir)
{
	int found = 0;

	for (int i = 1, seen = 0; i < INODES; i++) {
		if (t->files[i].present && t->files[i].dir == dir &&
		    !pick((unsigned)++seen))
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
	if (h.next_ino == INODES)
		return;
	t->files[h.next_ino++] = (struct file){
	        .present = true,
	        .dir = dir,
	        .content = dir ? 0 : ++h.next_value,
	        .mode = 0644,
	        .links = {{parent, name}},
	        .count = 1,
	};
}

static void change_file(struct tree_model *t, int ino)
{
	struct file *f = &t->files[ino];
	struct link place = f->links[pick((unsigned)f->count)];
	int dir = any_file(t, true), name = (int)pick(NAMES);

	switch (pick(7)) {
	case 0:
	case 1:
		f->content = ++h.next_value;
		break;
	case 2:
		unlink_entry(t, ino, (int)pick((unsigned)f->count));
		break;
	case 3: /* as editors save */
		if (f->count == 1 && h.next_ino < INODES) {
			unlink_entry(t, ino, 0);
			make(t, place.parent, place.name, false);
		}
		break;
	case 4:
		if (f->count < LINKS && !entry(t, dir, name))
			f->links[f->count++] = (struct link){dir, name};
		break;
	case 5:
		if (!entry(t, dir, name))
			f->links[pick((unsigned)f->count)] =
			        (struct link){dir, name};
		break;
	default:
		f->mode = 0600 + (int)pick(64);
		break;
	}
}

static void change_dir(struct tree_model *t, int ino)
{
	int dir = any_file(t, true), name = (int)pick(NAMES);

	switch (pick(4)) {
	case 0:
		t->files[ino].mode = 0700 + (int)pick(64);
		break;
	case 1:
		if (ino != INO_ROOT && is_empty(t, ino))
			unlink_entry(t, ino, 0);
		break;
	default:
		if (ino != INO_ROOT && !entry(t, dir, name) &&
		    !is_below(t, dir, ino))
			t->files[ino].links[0] = (struct link){dir, name};
		break;
	}
}

static void change(struct tree_model *t)
{
	int dir = any_file(t, true), name = (int)pick(NAMES);
	int file = any_file(t, false);
	unsigned kind = pick(10);

	if (kind < 3 && !entry(t, dir, name))
		make(t, dir, name, pick(3) == 0);
	else if (kind == 3)
		t->files[pick(2) && file ? file : dir].xattr =
		        pick(3) ? ++h.next_value : 0;
	else if (kind < 6)
		change_dir(t, dir);
	else if (file)
		change_file(t, file);
}

static void assert_whole(const struct tree_model *t)
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
			assert_int_equal(entry(t, parent, f->links[n].name), i);
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

/* Compare two trees by paths: the numbers may differ. */
static bool same_below(const struct tree_model *a, int x,
                       const struct tree_model *b, int y)
{
	const struct file *f = &a->files[x], *g = &b->files[y];

	if (f->dir != g->dir || f->content != g->content ||
	    f->mode != g->mode || f->xattr != g->xattr || f->count != g->count)
		return false;
	for (int n = 0; f->dir && n < names_used; n++) {
		int i = entry(a, x, n), j = entry(b, y, n);

		if (!i != !j || (i && !same_below(a, i, b, j)))
			return false;
	}
	return true;
}

/* ---- The planner on the model ------------------------------------------- */

struct asked {
	const struct tree_model *faces[2 + JOIN_BASES_MAX];
	unsigned count;
	int choice;         /* a side, or JOIN_NOBODY or JOIN_BOTH, or: */
	unsigned joined_at; /* of the history; see asked_pin() */
};
enum {
	CHOOSE_ANY = 2, /* by the number, at random */
	CHOOSE_PART,    /* the same, and some inodes are left as they are */
};

static const struct file *file_of(const struct asked *asked,
                                  const struct join_inode *inode, int face)
{
	return &asked->faces[face]->files[inode->faces[face].ino];
}

static int ask_content(void *arg, const struct join_inode *inode, int a, int b)
{
	return file_of(arg, inode, a)->content ==
	       file_of(arg, inode, b)->content;
}

static int ask_xattr(void *arg, const struct join_inode *inode,
                     const char *name, int a, int b)
{
	(void)name;
	return file_of(arg, inode, a)->xattr == file_of(arg, inode, b)->xattr;
}

static int ask_parent(void *arg, uint64_t ino, uint64_t *ret_parent)
{
	const struct asked *asked = arg;

	assert_true(asked->faces[0]->files[ino].present);
	*ret_parent = (uint64_t)asked->faces[0]->files[ino].links[0].parent;
	return 0;
}

static int ask_choice(void *arg, const struct join_inode *inode,
                      enum join_conflict kind)
{
	const unsigned one_value =
	        JOIN_MODE | JOIN_OWNER | JOIN_XATTR | JOIN_CYCLE;
	const struct asked *asked = arg;
	bool dir = S_ISDIR(inode->faces[JOIN_OURS].inode.mode);

	if (asked->choice == JOIN_BOTH &&
	    (kind & one_value || (kind == JOIN_RENAME_RENAME && dir)))
		return JOIN_OURS;
	if (asked->choice < CHOOSE_ANY)
		return asked->choice;
	return (int)((inode->ino * 7 + (unsigned)kind) / 3 % 2);
}

static bool ask_pin(void *arg, const struct join_inode *inode)
{
	const struct asked *asked = arg;

	return asked->choice == CHOOSE_PART &&
	       (inode->ino * 5 + asked->joined_at) % 3 == 0;
}

static int ask_entry(void *arg, uint64_t dir, const char *name)
{
	const struct asked *asked = arg;

	return entry(asked->faces[JOIN_OURS], (int)dir, name_number(name)) != 0;
}

static bool same_file(const struct file *a, const struct file *b)
{
	return a->present == b->present &&
	       (!a->present || !memcmp(a, b, sizeof(*a)));
}

static void face_fill(struct join_plan *plan, struct join_face *face,
                      const struct file *f, int ino, unsigned n)
{
	face->ino = (uint64_t)ino;
	face->present = f->present;
	if (!f->present)
		return;
	face->inode.mode = (uint32_t)f->mode | (f->dir ? S_IFDIR : S_IFREG);
	for (int i = 0; ino != INO_ROOT && i < f->count; i++)
		face_add_name(plan, face, (uint64_t)f->links[i].parent,
		              names[f->links[i].name],
		              strlen(names[f->links[i].name]));
	if (f->xattr)
		face_add_xattr(plan, face, "user.x", 6, (enum join_side)n);
}

static struct join_plan *plan_of(struct asked *asked)
{
	struct join_plan *plan;

	assert_int_equal(plan_create(asked->count - 2, &plan), 0);
	for (int i = 1; i < INODES; i++) {
		const struct file *ours = &asked->faces[0]->files[i];
		struct join_inode *inode;
		bool differs = false;

		for (unsigned f = 1; f < asked->count; f++)
			differs |= !same_file(ours, &asked->faces[f]->files[i]);
		if (!differs)
			continue;
		inode = plan_add(plan, (uint64_t)i);
		assert_non_null(inode);
		for (unsigned f = 0; f < asked->count; f++)
			face_fill(plan, &inode->faces[f],
			          &asked->faces[f]->files[i], i, f);
	}
	return plan;
}

/*
 * Write the plan's results into a tree, which is that of ours.  false: there
 * are no numbers left for the copies.
 */
static bool plan_apply(struct join_plan *plan, const struct asked *asked,
                       struct tree_model *t)
{
	const struct join_inode *inode;

	for (size_t n = 0; (inode = plan_inode(plan, n)); n++) {
		const struct join_face *result = &inode->result;
		struct file *f;

		if (inode->stands_for)
			continue;
		if (inode->copy && h.next_ino == INODES)
			return false;
		f = &t->files[inode->copy ? (uint64_t)h.next_ino++
		                          : inode->ino];
		if (!result->present) {
			*f = (struct file){0};
			continue;
		}
		*f = *file_of(asked, inode, (int)inode->content);
		f->mode = (int)(result->inode.mode & 07777);
		f->xattr = result->xattr_count
		                   ? file_of(asked, inode,
		                             (int)result->xattrs[0].side)
		                             ->xattr
		                   : 0;
		f->count = (int)result->name_count;
		assert_true(f->count <= LINKS_MAX);
		for (int i = 0; inode->ino != INO_ROOT && i < f->count; i++)
			f->links[i] = (struct link){
			        (int)result->names[i].parent,
			        name_number(result->names[i].name)};
	}
	return true;
}

/* ---- What a join must and must not do ----------------------------------- */

static void assert_value(int base, int ours, int theirs, int result)
{
	assert_int_equal(result, base == ours ? theirs : ours);
	assert_true(base == ours || base == theirs || ours == theirs);
}

static bool has_link(const struct file *f, const struct link *link)
{
	for (int i = 0; f->present && i < f->count; i++) {
		if (f->links[i].parent == link->parent &&
		    f->links[i].name == link->name)
			return true;
	}
	return false;
}

static void assert_links(const struct file *b, const struct file *o,
                         const struct file *t, const struct file *r)
{
	const struct file *all[] = {b, o, t, r};

	for (int i = 0; i < 4; i++) {
		for (int n = 0; all[i]->present && n < all[i]->count; n++) {
			const struct link *l = &all[i]->links[n];

			assert_value(has_link(b, l), has_link(o, l),
			             has_link(t, l), has_link(r, l));
		}
	}
}

/* Without conflicts and pairs: each change is there once, and no other. */
static void assert_merged(const struct asked *asked, const struct tree_model *r)
{
	for (int i = 1; i < INODES; i++) {
		const struct file *b = &asked->faces[JOIN_BASE]->files[i];
		const struct file *o = &asked->faces[JOIN_OURS]->files[i];
		const struct file *t = &asked->faces[JOIN_THEIRS]->files[i];
		const struct file *f = &r->files[i];

		assert_value(b->present, o->present, t->present, f->present);
		if (!f->present)
			continue;
		if (i != INO_ROOT)
			assert_links(b, o, t, f);
		if (!b->present) {
			/* Both have it if both kept it from a deletion. */
			if (o->present != t->present)
				assert_true(same_file(f, o->present ? o : t));
			continue;
		}
		assert_value(b->content, o->content, t->content, f->content);
		assert_value(b->mode, o->mode, t->mode, f->mode);
		assert_value(b->xattr, o->xattr, t->xattr, f->xattr);
	}
}

static bool plan_unites(struct join_plan *plan)
{
	for (size_t n = 0; plan_inode(plan, n); n++) {
		if (plan_inode(plan, n)->stands_for)
			return true;
	}
	return false;
}

static bool has_content(const struct tree_model *t, int content)
{
	for (int i = 1; i < INODES; i++) {
		if (t->files[i].present && t->files[i].content == content)
			return true;
	}
	return false;
}

/* Where the contents differed, both are there. */
static void assert_both(struct join_plan *plan, const struct asked *asked,
                        const struct tree_model *r)
{
	const struct join_inode *inode;

	for (size_t n = 0; (inode = plan_inode(plan, n)); n++) {
		if (!inode->beside || !inode->result.present)
			continue;
		kept_both++;
		for (int f = JOIN_OURS; f <= JOIN_THEIRS; f++)
			assert_true(has_content(
			        r, file_of(asked, inode, f)->content));
	}
}

/* What was not to be joined is as before, but for names that others got. */
static void assert_pinned(struct join_plan *plan, const struct asked *asked,
                          const struct tree_model *r)
{
	const struct join_inode *inode;

	for (size_t n = 0; (inode = plan_inode(plan, n)); n++) {
		const struct file *ours = file_of(asked, inode, JOIN_OURS);
		const struct file *file = &r->files[inode->ino];

		if (!inode->pinned || !file->present)
			continue;
		left_alone++;
		assert_true(inode->faces[JOIN_OURS].present);
		assert_int_equal(file->content, ours->content);
		assert_int_equal(file->mode, ours->mode);
		assert_int_equal(file->xattr, ours->xattr);
	}
}

static struct asked ask(int ours, int theirs)
{
	uint64_t common = h.contains[ours] & h.contains[theirs], best = common;
	struct asked asked = {.faces = {&h.trees[ours], &h.trees[theirs]},
	                      .count = 2};

	for (int v = 0; v < h.versions; v++) {
		if (common & UINT64_C(1) << v)
			best &= ~(h.contains[v] & ~(UINT64_C(1) << v));
	}
	for (int v = 0; v < h.versions; v++) {
		if (best & UINT64_C(1) << v && asked.count < 2 + JOIN_BASES_MAX)
			asked.faces[asked.count++] = &h.trees[v];
	}
	return asked;
}

/* Join into a tree, and return the number of conflicts. */
static int join_trees(struct asked *asked, int choice, struct tree_model *t,
                      bool *ret_united)
{
	const struct join_ops ops = {.same_content = ask_content,
	                             .same_xattr = ask_xattr,
	                             .parent = ask_parent,
	                             .choose = ask_choice,
	                             .pin = ask_pin,
	                             .has_entry = ask_entry,
	                             .suffix = "x",
	                             .arg = asked};
	struct join_plan *plan = plan_of(asked);
	int r;

	asked->choice = choice;
	r = plan_make(plan, &ops);
	if (r < 0 && choice >= CHOOSE_ANY)
		assert_int_equal(r, -ELOOP);
	else
		assert_true(r >= 0);
	*ret_united = plan_unites(plan);
	if (!r) {
		*t = *asked->faces[JOIN_OURS];
		if (!plan_apply(plan, asked, t))
			r = -ENOSPC;
		else if (choice == JOIN_BOTH)
			assert_both(plan, asked, t);
		else if (choice == CHOOSE_PART)
			assert_pinned(plan, asked, t);
	}
	plan_destroy(plan);
	return r;
}

static int version_add(const struct tree_model *t, uint64_t contains)
{
	int v = h.versions++;

	h.trees[v] = *t;
	h.contains[v] = contains | UINT64_C(1) << v;
	return v;
}

static void join_step(int into, int from)
{
	int ours = h.heads[into], theirs = h.heads[from], again;
	static struct tree_model t, back;
	struct asked asked = ask(ours, theirs);
	bool unites, other;
	int r = join_trees(&asked, JOIN_NOBODY, &t, &unites);

	joins++;
	conflicts += r > 0;
	criss_cross += asked.count > 3;
	united += unites;
	if (!r && asked.count == 3 && !unites)
		assert_merged(&asked, &t);
	if (!r && !pick(4)) {
		asked.joined_at = (unsigned)joins;
		r = join_trees(&asked, CHOOSE_PART, &t, &other);
	} else if (r > 0) {
		const int choices[] = {JOIN_OURS, JOIN_THEIRS, CHOOSE_ANY,
		                       CHOOSE_PART, JOIN_BOTH};

		r = join_trees(&asked, choices[pick(5)], &t, &other);
	}
	if (r)
		return;
	assert_whole(&t);
	again = version_add(&t, h.contains[ours] | h.contains[theirs]);
	h.heads[into] = again;
	/* A second time there is nothing to do; back, there is no conflict. */
	asked = ask(again, theirs);
	assert_int_equal(join_trees(&asked, JOIN_NOBODY, &back, &other), 0);
	assert_true(same_below(&t, INO_ROOT, &back, INO_ROOT));
	asked = ask(theirs, again);
	assert_int_equal(join_trees(&asked, JOIN_NOBODY, &back, &other), 0);
	assert_whole(&back);
	assert_true(same_below(&t, INO_ROOT, &back, INO_ROOT));
}

static void history_run(uint64_t seed)
{
	static struct tree_model t;
	unsigned steps = 6 + (unsigned)(seed % 12);

	h.versions = 0;
	h.next_ino = 2;
	names_used = NAMES;
	h.next_value = 0;
	h.seed = seed * UINT64_C(0x9E3779B97F4A7C15);
	t = (struct tree_model){0};
	t.files[INO_ROOT] =
	        (struct file){.present = true, .dir = true, .mode = 0755};
	for (int i = 0; i < 12; i++)
		change(&t);
	version_add(&t, 0);
	for (int s = 0; s < STATES; s++)
		h.heads[s] = 0;
	while (steps-- && h.versions < VERSIONS - 2) {
		int s = (int)pick(STATES), other = (int)pick(STATES);
		int from = h.heads[other];

		if (pick(3)) {
			t = h.trees[h.heads[s]];
			for (unsigned n = 1 + pick(3); n; n--)
				change(&t);
			h.heads[s] = version_add(&t, h.contains[h.heads[s]]);
		} else if (s != other) {
			/* An older version of the other, for criss-crosses. */
			join_step(s, other);
			if (pick(2) && h.heads[other] == from) {
				int now = h.heads[s];

				h.heads[s] = (int)pick((unsigned)now);
				if (!(h.contains[now] & UINT64_C(1)
				                                << h.heads[s]))
					h.heads[s] = now;
				join_step(other, s);
				h.heads[s] = now;
			}
		}
	}
}

static void test_histories(void **state)
{
	const char *only = getenv("COPPICE_SEED");
	uint64_t seed = only ? strtoull(only, NULL, 10) : 1;
	uint64_t end = only ? seed + 1 : HISTORIES + 1;

	(void)state;
	for (; seed < end; seed++) {
		running = seed;
		history_run(seed);
	}
	print_message("%llu joins, %llu with conflicts, %llu with several "
	              "bases, %llu with inodes that stand for others; %llu "
	              "files kept beside others, %llu left alone\n",
	              (unsigned long long)joins, (unsigned long long)conflicts,
	              (unsigned long long)criss_cross,
	              (unsigned long long)united, (unsigned long long)kept_both,
	              (unsigned long long)left_alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (failed)
		fprintf(stderr, "COPPICE_SEED=%llu\n",
		        (unsigned long long)running);
	return failed;
}
