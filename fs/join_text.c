/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging contents by lines.
 *
 * libgit2 is loaded only when lines are merged: it loads a dozen other
 * libraries, which would take most of the time to start the program.
 */
#include "join_text.h"

#include <errno.h>
#ifdef HAVE_LIBGIT2
#include <dlfcn.h>
#include <git2.h>
#endif

#include "join_faces.h"
#include "util.h"

void join_text_release(struct join_text *text)
{
	free(text->data);
	*text = (struct join_text){0};
}

#ifdef HAVE_LIBGIT2

/* The functions of libgit2 that are called. */
struct git {
	void *library;
	__typeof__(git_libgit2_init) *init;
	__typeof__(git_libgit2_shutdown) *shutdown;
	__typeof__(git_merge_file) *merge_file;
	__typeof__(git_merge_file_result_free) *result_free;
	__typeof__(git_error_last) *error_last;
};

/* Load the library; once it is loaded, it stays. */
static int git_open(struct git *ret_git)
{
	struct git git = {0};

	git.library = dlopen(LIBGIT2_SONAME, RTLD_NOW | RTLD_NODELETE);
	if (!git.library)
		return -EOPNOTSUPP;
	git.init = dlsym(git.library, "git_libgit2_init");
	git.shutdown = dlsym(git.library, "git_libgit2_shutdown");
	git.merge_file = dlsym(git.library, "git_merge_file");
	git.result_free = dlsym(git.library, "git_merge_file_result_free");
	git.error_last = dlsym(git.library, "git_error_last");
	if (!git.init || !git.shutdown || !git.merge_file || !git.result_free ||
	    !git.error_last) {
		dlclose(git.library);
		return -EOPNOTSUPP;
	}
	*ret_git = git;
	return 0;
}

static void git_close(struct git *git)
{
	dlclose(git->library);
}

int join_text_begin(void)
{
	struct git git;
	int err = git_open(&git);

	if (err)
		return err;
	err = git.init() < 0 ? -ENOMEM : 0;
	git_close(&git);
	return err;
}

void join_text_end(void)
{
	struct git git;

	if (git_open(&git))
		return;
	git.shutdown();
	git_close(&git);
}

static int piece_add(void *arg, const uint8_t *data, uint64_t len)
{
	struct join_text *text = arg;

	/* A hole is zero bytes. */
	if (!data || memchr(data, 0, len))
		return 1;
	memcpy(text->data + text->len, data, len);
	text->len += len;
	return 0;
}

/* Read the content of a face.  1: it is no text. */
static int face_read(const struct fs_joined *joined,
                     const struct join_inode *inode, unsigned face,
                     struct join_text *ret_text)
{
	const struct join_face *from = &inode->faces[face];

	if (from->inode.size > JOIN_TEXT_MAX)
		return 1;
	ret_text->data = malloc(MAX(from->inode.size, 1));
	if (!ret_text->data)
		return -ENOMEM;
	return file_content(joined_tree(joined, face), from->ino,
	                    from->inode.size, piece_add, ret_text);
}

static int lines_merge(const struct git *git, const struct join_text *texts,
                       struct join_text *ret_text)
{
	git_merge_file_input inputs[JOIN_BASE + 1] = {0};
	git_merge_file_result result = {0};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		inputs[i].version = GIT_MERGE_FILE_INPUT_VERSION;
		inputs[i].ptr = texts[i].data;
		inputs[i].size = texts[i].len;
	}
	if (git->merge_file(&result, &inputs[JOIN_BASE], &inputs[JOIN_OURS],
	                    &inputs[JOIN_THEIRS], NULL) < 0) {
		const git_error *error = git->error_last();

		return error && error->klass == GIT_ERROR_NOMEMORY ? -ENOMEM
		                                                   : 0;
	}
	r = result.automergeable;
	if (r) {
		ret_text->data = malloc(MAX(result.len, 1));
		if (ret_text->data)
			memcpy(ret_text->data, result.ptr, result.len);
		ret_text->len = result.len;
		r = ret_text->data ? 1 : -ENOMEM;
	}
	git->result_free(&result);
	return r;
}

int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text)
{
	struct join_text texts[JOIN_BASE + 1] = {0}, merged = {0};
	struct git git;
	int r = git_open(&git);

	if (r)
		return r;
	for (unsigned f = 0; !r && f < ARRAY_SIZE(texts); f++)
		r = face_read(joined, inode, f, &texts[f]);
	r = r ? MIN(r, 0) : lines_merge(&git, texts, &merged);
	git_close(&git);
	for (unsigned f = 0; f < ARRAY_SIZE(texts); f++)
		join_text_release(&texts[f]);
	if (r == 1)
		*ret_text = merged;
	return r;
}

#else

int join_text_begin(void)
{
	return -EOPNOTSUPP;
}

void join_text_end(void)
{
}

int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text)
{
	return -EOPNOTSUPP;
}

#endif
