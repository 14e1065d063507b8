/* SPDX-License-Identifier: BSD-2-Clause */
/* membarrier(2): see barrier.h. */
#include "barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static long
membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

int
barrier_register(void)
{
	if (membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0)
		return 0;
	return -errno;
}

bool
barrier_membarrier(void)
{
	/* Order the caller's own accesses even against its own mapping. */
	barrier_full();
	return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}
