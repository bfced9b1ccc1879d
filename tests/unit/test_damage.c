/* SPDX-License-Identifier: LGPL-2.1-or-later */
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
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <xxhash.h>

#include "intact.h"
#include "util.h"

/* ---- In a process of its own -------------------------------------------- */

/* The child's argument and result. */
struct trial {
	uint64_t random, tries;
	uint64_t lost; /* files that could not be read, for damage */
	size_t at;     /* the byte that was changed last */
	int heard;     /* answers that there is damage */
};

static struct trial *trial; /* shared with it */

static int trial_setup(void **state)
{
	trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE,
	             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return trial == MAP_FAILED ? -1 : intact_setup(state);
}

static int trial_teardown(void **state)
{
	munmap(trial, sizeof(*trial));
	return intact_teardown(state);
}

/* Return what fn returns there, or the signal that it dies of, negated. */
static int apart(int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		/* Let signals end the child: no handler of the parent's. */
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		quiet();
		_exit(fn());
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

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
	int r = store_open(intact.scratch.store, &options, &store);

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
	return digest == intact.digest ? 0 : 13;
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
		size_t at = scratch_random(&random) % intact.len;
		uint8_t old;
		int end;

		/* Headers and numbers are where most can go wrong. */
		if (i % 3 == 0)
			at = at / 4096 * 4096 + at % 64;
		old = intact.bytes[at];
		intact.bytes[at] ^=
		        (uint8_t)(1u << (scratch_random(&random) & 7));
		intact_restore();
		end = apart(judge);
		intact.bytes[at] = old;
		if (end != 0 && end != 3)
			fail_msg("byte %zu (page %zu, %zu): ended with %d", at,
			         at / 4096, at % 4096, end);
		harmless += !end;
	}
	print_message("# %llu bytes changed, %llu of them without effect\n",
	              (unsigned long long)tries, (unsigned long long)harmless);
}


/* The name of a table in LMDB's own tree is changed, in all copies of it. */
static void test_table_name(void **state)
{
	static const char name[] = "counts";
	const size_t len = sizeof(name) - 1;
	uint8_t *at = intact.bytes, *end = at + intact.len;
	int copies = 0;

	for (; (at = memmem(at, (size_t)(end - at), name, len)); at += len) {
		at[len - 1] ^= 1;
		copies++;
	}
	assert_true(copies > 0);
	intact_restore();
	assert_int_equal(apart(judge), 3);
	for (at = intact.bytes; copies; at += len, copies--) {
		at = memmem(at, (size_t)(end - at), "countr", len);
		assert_non_null(at);
		at[len - 1] ^= 1;
	}
}

/* Change the bits of a table's flags, in all copies of its record. */
static int flags_change(const char *name, uint16_t bits)
{
	const size_t len = strlen(name), before_flags = 4;
	uint8_t *at = intact.bytes, *end = at + intact.len;
	int copies = 0;

	for (; (at = memmem(at, (size_t)(end - at), name, len)); at += len) {
		at[len + before_flags] ^= (uint8_t)bits;
		at[len + before_flags + 1] ^= (uint8_t)(bits >> 8);
		copies++;
	}
	return copies;
}

/* LMDB takes some for the order of the keys, and others for its own. */
static void test_table_flags(void **state)
{
	static const char *const names[] = {"records", "counts"};

	for (int i = 0; i < 2 * 16; i++) {
		uint16_t bits = (uint16_t)(1u << i / 2);
		int end;

		assert_true(flags_change(names[i % 2], bits) > 0);
		intact_restore();
		end = apart(judge);
		flags_change(names[i % 2], bits);
		if (end != 3)
			fail_msg("flags %#x of %s: ended with %d", bits,
			         names[i % 2], end);
	}
}

/* ---- Going on ----------------------------------------------------------- */

/* The hash of the content of each file of the intact store. */
struct lookups {
	node_t node;
	uint64_t hash;
};

static struct {
	struct lookups *at;
	size_t len;
} known;

static void lookups_add(node_t node, uint64_t hash)
{
	known.at = realloc(known.at, (known.len + 1) * sizeof(*known.at));
	assert_non_null(known.at);
	known.at[known.len++] = (struct lookups){node, hash};
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

static void lookups_walk(struct fs *fs, node_t dir)
{
	_cleanup_free_ struct names *names = calloc(1, sizeof(*names));
	uint64_t hash;

	assert_int_equal(fs_readdir(fs, dir, 0, false, SNAPDIR_DISABLED,
	                            names_add, names),
	                 0);
	for (size_t i = 0; i < names->len; i++) {
		if (names->at[i].dir) {
			lookups_walk(fs, names->at[i].node);
			continue;
		}
		assert_int_equal(file_hash(fs, names->at[i].node, &hash), 0);
		lookups_add(names->at[i].node, hash);
	}
}

static void lookups_fill(void)
{
	char after[NAME_LEN_MAX + 1] = "";
	struct work w = {0};

	intact_restore();
	work_open(&w, intact.scratch.store);
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
		lookups_walk(w.fs, NODE(number, INO_ROOT));
	}
	work_close(&w);
	assert_true(known.len > 500);
}

static void lookups_free(void)
{
	free(known.at);
	known.at = NULL;
	known.len = 0;
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
	r = fs_make(fs, NODE(intact.main, intact.dir), "new", S_IFREG | 0644, 0,
	            NULL, &cred, &e);
	if (!excusable(r))
		return 31;
	for (int i = 0; i < 300; i += 3) {
		char name[32];

		snprintf(name, sizeof(name), "file-%d", i);
		r = fs_unlink(fs, NODE(intact.main, intact.dir), name);
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
static int go_on(void)
{
	struct store_options options = {.memory = 8 << 20, .commit_ms = 10};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	uint64_t hash;
	int r;

	if (store_open(intact.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 20;
	for (size_t i = 0; i < known.len; i++) {
		r = file_hash(fs, known.at[i].node, &hash);
		if (!excusable(r))
			return 21;
		if (!r && hash != known.at[i].hash)
			return 22;
		trial->lost += !!r;
	}
	r = use(store, forest, fs);
	if (r)
		return r;
	fs_destroy(fs);
	forest_close(forest);
	return store_close(store) ? 23 : 0;
}

/* Change bytes of some blocks: only their checksums reveal it. */
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
	uint64_t random = scratch_seed(), tries = scratch_ops(150);

	lookups_fill();
	*trial = (struct trial){0};
	for (uint64_t i = 0; i < tries; i++) {
		int end;

		blocks_garble(&random);
		end = apart(go_on);
		if (end)
			fail_msg("try %llu: ended with %d",
			         (unsigned long long)i, end);
	}
	print_message("# %llu damaged stores; of %llu files read, %llu had "
	              "damage, and all others were as before\n",
	              (unsigned long long)tries,
	              (unsigned long long)(tries * known.len),
	              (unsigned long long)trial->lost);
	lookups_free();
}

/* ---- While it is in use ------------------------------------------------- */

/* Change a byte of some page, mostly one that LMDB navigates by. */
static bool live_damage(int fd, uint64_t *random)
{
	size_t at = scratch_random(random) % intact.len;
	uint8_t byte;

	if (scratch_random(random) % 4)
		at = at / 4096 * 4096 + scratch_random(random) % 96;
	trial->at = at < intact.len ? at : 0;
	byte = (uint8_t)scratch_random(random);
	return pwrite(fd, &byte, 1, (off_t)trial->at) == 1;
}

static bool live_mend(int fd)
{
	return pwrite(fd, intact.bytes + trial->at, 1, (off_t)trial->at) == 1;
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

static int live(void)
{
	/* Little memory, so that everything is read again. */
	struct store_options options = {.memory = 1 << 16};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	uint64_t random = trial->random, after = 0;
	int fd = open(intact.file, O_RDWR);

	if (fd < 0 || store_open(intact.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 42;
	for (uint64_t i = 0; i < trial->tries; i++) {
		struct found found = {0};
		struct check_options check = {
		        .data = true, .found = found_add, .arg = &found};
		int r = live_damage(fd, &random) ? live_read(fs, &trial->lost)
		                                 : 43;

		if (!r && i % 8 == 0 && !excusable(forest_check(store, &check)))
			r = 44;
		if (r)
			return r;
		if (!live_mend(fd))
			return 45;
	}
	/* No damaged block stays in memory. */
	if (live_read(fs, &after) || after)
		return 46;
	return 0;
}

/* Damage done to a store that is open: it is read as such, or not at all. */
static void test_live(void **state)
{
	int end;

	lookups_fill();
	intact_restore();
	*trial = (struct trial){.random = scratch_seed(),
	                        .tries = scratch_ops(300)};
	end = apart(live);
	if (end)
		fail_msg("byte %zu of page %zu: ended with %d",
		         trial->at % 4096, trial->at / 4096, end);
	assert_true(trial->lost > 0);
	print_message("# %llu bytes changed under an open store; %llu files "
	              "could not be read then\n",
	              (unsigned long long)trial->tries,
	              (unsigned long long)trial->lost);
	lookups_free();
}

static void heard(void *arg, int err)
{
	trial->heard += err == -EUCLEAN;
	sem_post(arg);
}

/* Each thread that waits gets the error, however often. */
static int live_wait(struct store *store)
{
	sem_t answer;

	sem_init(&answer, 0, 0);
	for (int i = 0; i < 3; i++) {
		store_fsync(store, heard, &answer);
		while (sem_wait(&answer))
			;
	}
	return trial->heard == 3 ? 0 : 53;
}

/* Damages with `damage`, and goes on; 0: whatever could not be done. */
static int live_write(bool (*damage)(int fd, uint64_t *random))
{
	struct store_options options = {.memory = 1 << 16, .commit_ms = 5};
	struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	struct fs *fs;
	int fd = open(intact.file, O_RDWR), r;

	alarm(60);
	if (fd < 0 || store_open(intact.scratch.store, &options, &store) ||
	    forest_open(store, &forest) || fs_create(forest, &fs_options, &fs))
		return 50;
	if (!damage(fd, &trial->random))
		return 51;
	r = use(store, forest, fs);
	if (r && r < 30)
		return r;
	r = store_sync(store);
	trial->lost += !!r;
	if (r == -EUCLEAN)
		return live_wait(store);
	return r ? 52 : 0;
}

static int live_write_anywhere(void)
{
	return live_write(live_damage);
}

/* Pages are checked before they are written: damaged ones are not changed. */
static void test_live_writes(void **state)
{
	uint64_t random = scratch_seed(), tries = scratch_ops(60);

	lookups_fill();
	trial->lost = 0;
	for (uint64_t i = 0; i < tries; i++) {
		uint64_t seed = scratch_random(&random);
		int end;

		intact_restore();
		trial->random = seed;
		trial->heard = 0;
		end = apart(live_write_anywhere);
		if (end)
			fail_msg("try %llu (%#llx): ended with %d",
			         (unsigned long long)i,
			         (unsigned long long)seed, end);
	}
	print_message("# %llu stores damaged while written to; %llu of them "
	              "took nothing more\n",
	              (unsigned long long)tries,
	              (unsigned long long)trial->lost);
	lookups_free();
}

/* The entries of a page begin where its header ends, and so end nowhere. */
static bool bounds_damage(int fd, uint64_t *random)
{
	static const uint8_t bounds[] = {0xff, 0xff, 0x10, 0x00};
	off_t at = (off_t)trial->at * 4096 + 12;

	return pwrite(fd, bounds, sizeof(bounds), at) == sizeof(bounds);
}

static int live_write_bounds(void)
{
	return live_write(bounds_damage);
}

/* The bytes of the file, which the caller frees. */
static uint8_t *file_read(size_t *ret_len)
{
	int fd = open(intact.file, O_RDONLY);
	struct stat st;
	uint8_t *bytes;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_true(pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return bytes;
}

/*
 * The bounds of every page, one after the other.  Where they are on the way of
 * what is written, nothing is written at all.
 */
static void test_live_bounds(void **state)
{
	uint64_t refused = 0, pages = intact.len / 4096;

	lookups_fill();
	for (size_t page = 2; page < pages; page++) {
		uint8_t *after;
		size_t len;
		int end;

		intact_restore();
		*trial = (struct trial){.at = page};
		end = apart(live_write_bounds);
		if (end)
			fail_msg("page %zu: ended with %d", page, end);
		if (!trial->lost)
			continue;
		refused++;
		after = file_read(&len);
		assert_true(len >= intact.len);
		assert_memory_equal(after + page * 4096 + 16,
		                    intact.bytes + page * 4096 + 16, 4080);
		free(after);
	}
	print_message("# %llu pages damaged while written to; %llu of them "
	              "let nothing be written\n",
	              (unsigned long long)pages - 2,
	              (unsigned long long)refused);
	assert_true(refused > 0);
	lookups_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_live),
	        cmocka_unit_test(test_live_writes),
	        cmocka_unit_test(test_live_bounds),
	        cmocka_unit_test(test_any_byte),
	        cmocka_unit_test(test_table_name),
	        cmocka_unit_test(test_table_flags),
	        cmocka_unit_test(test_going_on),
	};

	/* Reserving a smaller map is quicker. */
	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, trial_setup, trial_teardown);
}
