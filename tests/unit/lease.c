/* SPDX-License-Identifier: BSD-2-Clause */
/* Named leases: what only shows from inside. */
#include "fixture.h"

#include <string.h>

/* A lock that a flush of the cache would free is none. */
TEST(lease__flush_while_held__still_held_and_released)
{
	struct shmc *cache = cache_new(1u << 20, 4), *other;
	struct shmc_wait now = SHMC_WAIT_INIT;
	struct shmc_lease mine, theirs;

	now.deadline_ns = 1;
	REQUIRE_EQ(shmc_attach_fd(&other, shmc_fd(cache), NULL, NULL), 0);
	REQUIRE_EQ(shmc_lease_acquire(cache, "l", 1, NULL, &mine), SHMC_OK);
	CHECK_EQ(shmc_flush(cache), SHMC_OK);
	CHECK_EQ(shmc_lease_acquire(other, "l", 1, &now, &theirs), SHMC_TIMEOUT);
	CHECK_EQ(shmc_lease_extend(&mine, 1000), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&mine), SHMC_OK);
	REQUIRE_EQ(shmc_lease_acquire(other, "l", 1, &now, &theirs), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&theirs), SHMC_OK);
	shmc_close(other);
	shmc_close(cache);
}
