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

#include "join_model.h"
#include "util.h"

enum {
	VERSIONS = 60,
	STATES = 3,
	HISTORIES = 100000,
};

struct history {
	struct tree_model trees[VERSIONS];
	uint64_t contains[VERSIONS]; /* bits of versions */
	int versions;
	int heads[STATES];
};

static struct history h;
static uint64_t joins, conflicts, criss_cross, united, running;
static uint64_t kept_both, left_alone;

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

	return tree_model_entry(asked->faces[JOIN_OURS], (int)dir,
	                        model_name(name)) != 0;
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
		              model.names[f->links[i].name],
		              strlen(model.names[f->links[i].name]));
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
		if (inode->copy && model.next_ino == INODES)
			return false;
		f = &t->files[inode->copy ? (uint64_t)model.next_ino++
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
			        model_name(result->names[i].name)};
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

/* Both contents are there where they differed. */
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

/* Inodes that are not joined are as before, but for names given to others. */
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
	if (!r && !model_pick(4)) {
		asked.joined_at = (unsigned)joins;
		r = join_trees(&asked, CHOOSE_PART, &t, &other);
	} else if (r > 0) {
		const int choices[] = {JOIN_OURS, JOIN_THEIRS, CHOOSE_ANY,
		                       CHOOSE_PART, JOIN_BOTH};

		r = join_trees(&asked, choices[model_pick(5)], &t, &other);
	}
	if (r)
		return;
	tree_model_check(&t);
	again = version_add(&t, h.contains[ours] | h.contains[theirs]);
	h.heads[into] = again;
	/* A second time there is nothing to do; back, there is no conflict. */
	asked = ask(again, theirs);
	assert_int_equal(join_trees(&asked, JOIN_NOBODY, &back, &other), 0);
	assert_true(tree_model_equal(&t, INO_ROOT, &back, INO_ROOT));
	asked = ask(theirs, again);
	assert_int_equal(join_trees(&asked, JOIN_NOBODY, &back, &other), 0);
	tree_model_check(&back);
	assert_true(tree_model_equal(&t, INO_ROOT, &back, INO_ROOT));
}

static void history_run(uint64_t seed)
{
	static struct tree_model t;
	unsigned steps = 6 + (unsigned)(seed % 12);

	h.versions = 0;
	model_begin(seed);
	t = (struct tree_model){0};
	t.files[INO_ROOT] =
	        (struct file){.present = true, .dir = true, .mode = 0755};
	for (int i = 0; i < 12; i++)
		tree_model_change(&t);
	version_add(&t, 0);
	for (int s = 0; s < STATES; s++)
		h.heads[s] = 0;
	while (steps-- && h.versions < VERSIONS - 2) {
		int s = (int)model_pick(STATES),
		    other = (int)model_pick(STATES);
		int from = h.heads[other];

		if (model_pick(3)) {
			t = h.trees[h.heads[s]];
			for (unsigned n = 1 + model_pick(3); n; n--)
				tree_model_change(&t);
			h.heads[s] = version_add(&t, h.contains[h.heads[s]]);
		} else if (s != other) {
			/* An older version of the other, for criss-crosses. */
			join_step(s, other);
			if (model_pick(2) && h.heads[other] == from) {
				int now = h.heads[s];

				h.heads[s] = (int)model_pick((unsigned)now);
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
