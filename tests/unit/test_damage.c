/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damage where nobody knows of it: bytes are changed all over a store.  The
 * check finds what matters, and the store goes on with what is left: nothing
 * breaks down, nothing is read that was never written.
 */
#include <errno.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <xxhash.h>

#include "sound.h"
#include "util.h"

/* ---- Anywhere ----------------------------------------------------------- */

/* 0: nothing was wrong with it; 3: something was; else it broke down. */
static int judge(void)
{
	struct store_options options = {.readonly = true};
	struct fs_options fs_options = {0};
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	struct found found = {0};
	struct check_options check_options = {
	        .data = true, .found = found_add, .arg = &found};
	uint64_t digest;
	int r = store_open(sound.scratch.store, &options, &store);

	if (r)
		return r == -EUCLEAN || r == -EPROTONOSUPPORT ? 3 : 10;
	r = forest_check(store, &check_options);
	if (r)
		return 11;
	if (found.count)
		return 3;
	/* Then it must be as it was. */
	if (forest_open(store, &forest) ||
	    fs_create(forest, &fs_options, &fs) || real_digest(fs, &digest))
		return 12;
	return digest == sound.digest ? 0 : 13;
}

/*
 * A byte is changed somewhere in the file: it is found, or it matters to
 * nobody.
 */
static void test_any_byte(void **state)
{
	uint64_t random = scratch_seed(), tries = scratch_ops(400);
	uint64_t harmless = 0;

	for (uint64_t i = 0; i < tries; i++) {
		size_t at = scratch_random(&random) % sound.len;
		uint8_t old = sound.bytes[at];
		int status;
		pid_t pid;

		/* Headers and numbers are where most can go wrong. */
		if (i % 3 == 0)
			at = at / 4096 * 4096 + at % 64;
		old = sound.bytes[at];
		sound.bytes[at] ^=
		        (uint8_t)(1u << (scratch_random(&random) & 7));
		sound_restore();
		fflush(stdout);
		pid = fork();
		if (!pid) {
			/* It is to die of what kills it. */
			signal(SIGBUS, SIG_DFL);
			signal(SIGSEGV, SIG_DFL);
			signal(SIGABRT, SIG_DFL);
			quiet();
			_exit(judge());
		}
		assert_true(waitpid(pid, &status, 0) == pid);
		sound.bytes[at] = old;
		if (!WIFEXITED(status) ||
		    (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3))
			fail_msg("byte %zu (page %zu, %zu): %s %d", at,
			         at / 4096, at % 4096,
			         WIFEXITED(status) ? "exit" : "signal",
			         WIFEXITED(status) ? WEXITSTATUS(status)
			                           : WTERMSIG(status));
		harmless += !WEXITSTATUS(status);
	}
	print_message("# %llu bytes changed, %llu of them without effect\n",
	              (unsigned long long)tries, (unsigned long long)harmless);
}

/* ---- Going on ----------------------------------------------------------- */

/* What each file of the sound store holds. */
struct known {
	node_t node;
	uint64_t hash;
};

static struct {
	struct known *at;
	size_t len;
} known;

static void known_add(node_t node, uint64_t hash)
{
	known.at = realloc(known.at, (known.len + 1) * sizeof(*known.at));
	assert_non_null(known.at);
	known.at[known.len++] = (struct known){node, hash};
}

static int file_hash(struct fs *fs, node_t node, uint64_t *ret_hash)
{
	XXH3_state_t *hash;
	struct fs_data data;
	struct stat st;
	off_t at = 0;
	int r = fs_getattr(fs, node, &st);

	if (r)
		return r;
	hash = XXH3_createState();
	XXH3_64bits_reset(hash);
	while (!r && at < st.st_size) {
		r = fs_read(fs, node, at, 1 << 16, &data);
		if (r)
			break;
		for (int i = 0; i < data.iov_count; i++)
			XXH3_64bits_update(hash, data.iov[i].iov_base,
			                   data.iov[i].iov_len);
		at += (off_t)data.len;
		r = data.len ? 0 : -EPROTO;
		fs_data_release(&data);
	}
	*ret_hash = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	return r;
}

struct names {
	struct {
		node_t node;
		bool dir;
	} at[1000];
	size_t len;
};

static int names_add(void *arg, const char *name, const struct fs_entry *entry,
                     off_t cookie)
{
	struct names *names = arg;

	if (!strcmp(name, ".") || !strcmp(name, "..") || names->len == 1000)
		return 0;
	names->at[names->len].node = entry->st.st_ino;
	names->at[names->len++].dir = S_ISDIR(entry->st.st_mode);
	return 0;
}

static void known_walk(struct fs *fs, node_t dir)
{
	_cleanup_free_ struct names *names = calloc(1, sizeof(*names));
	uint64_t hash;

	assert_int_equal(fs_readdir(fs, dir, 0, false, SNAPDIR_DISABLED,
	                            names_add, names),
	                 0);
	for (size_t i = 0; i < names->len; i++) {
		if (names->at[i].dir) {
			known_walk(fs, names->at[i].node);
			continue;
		}
		assert_int_equal(file_hash(fs, names->at[i].node, &hash), 0);
		known_add(names->at[i].node, hash);
	}
}

static void known_fill(void)
{
	char after[NAME_LEN_MAX + 1] = "";
	struct work w = {0};

	sound_restore();
	work_open(&w, sound.scratch.store);
	for (;;) {
		struct state *state;
		uint64_t number = 0;

		store_lock(w.store);
		if (!state_next(w.forest, 0, after, &state)) {
			number = state->number;
			memcpy(after, state->name, sizeof(after));
		}
		store_unlock(w.store);
		if (!number)
			break;
		known_walk(w.fs, NODE(number, INO_ROOT));
	}
	work_close(&w);
	assert_true(known.len > 500);
}

/* Damage is all that may be complained of. */
static bool excusable(int r)
{
	return !r || r == -EUCLEAN;
}

/* Change something everywhere, and delete what can be. */
static int use(struct store *store, struct forest *forest, struct fs *fs)
{
	static const struct fs_cred cred = {1000, 1000, 022};
	struct state *state;
	struct fs_entry e;
	int r = 0;

	for (size_t i = 0; i < known.len; i += 17) {
		r = fs_write(fs, known.at[i].node, 100, "changed", 7, 0);
		if (!excusable(r))
			return 30;
	}
	r = fs_make(fs, NODE(sound.main, sound.dir), "new", S_IFREG | 0644, 0,
	            NULL, &cred, &e);
	if (!excusable(r))
		return 31;
	for (int i = 0; i < 300; i += 3) {
		char name[32];

		snprintf(name, sizeof(name), "file-%d", i);
		r = fs_unlink(fs, NODE(sound.main, sound.dir), name);
		if (!excusable(r) && r != -ENOENT)
			return 32;
	}
	store_lock(store);
	r = state_find(forest, 0, "fork", &state);
	if (!r)
		r = state_delete(forest, state, true);
	store_unlock(store);
	if (!excusable(r))
		return 33;
	r = forest_drain(forest);
	return excusable(r) ? 0 : 34;
}

/* 0: as it should be. */
static int go_on(uint64_t *ret_lost)
{
	struct store_options options = {.memory = 8 << 20, .commit_ms = 10};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	uint64_t hash;
	int r;

	if (store_open(sound.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 20;
	for (size_t i = 0; i < known.len; i++) {
		r = file_hash(fs, known.at[i].node, &hash);
		if (!excusable(r))
			return 21;
		if (!r && hash != known.at[i].hash)
			return 22;
		*ret_lost += !!r;
	}
	r = use(store, forest, fs);
	if (r)
		return r;
	fs_destroy(fs);
	forest_close(forest);
	return store_close(store) ? 23 : 0;
}

/* Bytes of some blocks: their checksums are all there is to tell. */
static void blocks_garble(uint64_t *random)
{
	unsigned count = 1 + scratch_random(random) % 6;

	plant_begin("blocks", MDB_INTEGERKEY);
	for (unsigned i = 0; i < count; i++) {
		uint64_t steps = scratch_random(random) % 200;

		/* Half of them in nodes, which are few. */
		while (steps--)
			if (!plant_next())
				break;
		if (mdb_cursor_get(plant.cursor, &plant.key, &plant.value,
		                   MDB_GET_CURRENT))
			break;
		plant_flip(scratch_random(random) % plant.value.mv_size,
		           (uint8_t)(1u << (scratch_random(random) & 7)));
		if (mdb_cursor_get(plant.cursor, &plant.key, &plant.value,
		                   MDB_GET_CURRENT))
			break;
	}
	plant_end();
}

static void test_going_on(void **state)
{
	uint64_t random = scratch_seed(), tries = scratch_ops(150), lost = 0;

	known_fill();
	for (uint64_t i = 0; i < tries; i++) {
		uint64_t now = 0;
		int pipes[2], status;
		pid_t pid;

		blocks_garble(&random);
		assert_int_equal(pipe(pipes), 0);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			quiet();
			status = go_on(&now);
			if (write(pipes[1], &now, sizeof(now)) < 0)
				status = 24;
			_exit(status);
		}
		close(pipes[1]);
		assert_true(waitpid(pid, &status, 0) == pid);
		if (read(pipes[0], &now, sizeof(now)) == sizeof(now))
			lost += now;
		close(pipes[0]);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail_msg("try %llu: %s %d", (unsigned long long)i,
			         WIFEXITED(status) ? "exit" : "signal",
			         WIFEXITED(status) ? WEXITSTATUS(status)
			                           : WTERMSIG(status));
	}
	print_message("# %llu damaged stores; of %llu files read, %llu had "
	              "damage, and all others were as before\n",
	              (unsigned long long)tries,
	              (unsigned long long)(tries * known.len),
	              (unsigned long long)lost);
	free(known.at);
}

/* ---- While it is in use ------------------------------------------------- */

/* One byte of some page is another: mostly where LMDB finds its way by. */
static size_t live_damage(int fd, uint64_t *random)
{
	size_t at = scratch_random(random) % sound.len;
	uint8_t byte;

	if (scratch_random(random) % 4)
		at = at / 4096 * 4096 + scratch_random(random) % 96;
	at = at < sound.len ? at : 0;
	byte = (uint8_t)scratch_random(random);
	return pwrite(fd, &byte, 1, (off_t)at) == 1 ? at : SIZE_MAX;
}

/* All that is known, until something is read that never was. */
static int live_read(struct fs *fs, uint64_t *lost)
{
	for (size_t i = 0; i < known.len; i += 3) {
		uint64_t hash;
		int r = file_hash(fs, known.at[i].node, &hash);

		if (!excusable(r))
			return 40;
		if (!r && hash != known.at[i].hash)
			return 41;
		*lost += !!r;
	}
	return 0;
}

static int live(uint64_t random, uint64_t tries, uint64_t *ret_lost)
{
	/* So little memory that everything is read again. */
	struct store_options options = {.memory = 1 << 16};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	uint64_t after = 0;
	int fd = open(sound.file, O_RDWR);

	if (fd < 0 || store_open(sound.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 42;
	for (uint64_t i = 0; i < tries; i++) {
		struct found found = {0};
		struct check_options check = {
		        .data = true, .found = found_add, .arg = &found};
		size_t at = live_damage(fd, &random);
		int r = at == SIZE_MAX ? 43 : live_read(fs, ret_lost);

		if (!r && i % 8 == 0 && !excusable(forest_check(store, &check)))
			r = 44;
		if (r) {
			fprintf(stderr, "byte %zu of page %zu\n", at % 4096,
			        at / 4096);
			return r;
		}
		if (pwrite(fd, sound.bytes + at, 1, (off_t)at) != 1)
			return 45;
	}
	/* As it was: nothing of the damage stays in memory. */
	if (live_read(fs, &after) || after)
		return 46;
	return 0;
}

/* Damage done to a store that is open: it is read as such, or not at all. */
static void test_live(void **state)
{
	uint64_t random = scratch_seed(), tries = scratch_ops(300), lost = 0;
	int pipes[2], status;
	pid_t pid;

	known_fill();
	sound_restore();
	assert_int_equal(pipe(pipes), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		status = live(random, tries, &lost);
		if (write(pipes[1], &lost, sizeof(lost)) < 0)
			status = 24;
		_exit(status);
	}
	close(pipes[1]);
	assert_true(waitpid(pid, &status, 0) == pid);
	if (read(pipes[0], &lost, sizeof(lost)) != sizeof(lost))
		lost = 0;
	close(pipes[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("%s %d", WIFEXITED(status) ? "exit" : "signal",
		         WIFEXITED(status) ? WEXITSTATUS(status)
		                           : WTERMSIG(status));
	assert_true(lost > 0);
	print_message("# %llu bytes changed under an open store; %llu files "
	              "could not be read then\n",
	              (unsigned long long)tries, (unsigned long long)lost);
	free(known.at);
	known.at = NULL;
	known.len = 0;
}

/* 0: it went on, whatever could not be done. */
static int live_write(uint64_t random)
{
	struct store_options options = {.memory = 1 << 16, .commit_ms = 5};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	int fd = open(sound.file, O_RDWR), r;

	if (fd < 0 || store_open(sound.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 50;
	if (live_damage(fd, &random) == SIZE_MAX)
		return 51;
	r = use(store, forest, fs);
	if (r && r < 30)
		return r;
	store_sync(store);
	return 0;
}

/*
 * What writes cannot be sent back from wherever damage led it: it goes on, or
 * it stops and says so, before anything of it is saved.
 */
static void test_live_writes(void **state)
{
	uint64_t random = scratch_seed(), tries = scratch_ops(60), stops = 0;

	known_fill();
	for (uint64_t i = 0; i < tries; i++) {
		uint64_t seed = scratch_random(&random);
		int status;
		pid_t pid;

		sound_restore();
		fflush(stdout);
		pid = fork();
		if (!pid) {
			signal(SIGBUS, SIG_DFL);
			signal(SIGSEGV, SIG_DFL);
			signal(SIGABRT, SIG_DFL);
			quiet();
			alarm(60);
			_exit(live_write(seed));
		}
		assert_true(waitpid(pid, &status, 0) == pid);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
			stops++;
		else if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail_msg("try %llu (%#llx): %s %d",
			         (unsigned long long)i,
			         (unsigned long long)seed,
			         WIFEXITED(status) ? "exit" : "signal",
			         WIFEXITED(status) ? WEXITSTATUS(status)
			                           : WTERMSIG(status));
	}
	print_message("# %llu stores damaged while written to; %llu times that "
	              "was the end\n",
	              (unsigned long long)tries, (unsigned long long)stops);
	free(known.at);
	known.at = NULL;
	known.len = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_live),
	        cmocka_unit_test(test_live_writes),
	        cmocka_unit_test(test_any_byte),
	        cmocka_unit_test(test_going_on),
	};

	/* Reserving a smaller map is quicker. */
	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, sound_setup, sound_teardown);
}
