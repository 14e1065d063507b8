# SPDX-License-Identifier: BSD-2-Clause
# How soon a killed leader is replaced.

set title "From kill(SIGKILL) on\n" . machine
set grid lc rgb '#dddddd'
set border 3
set tics nomirror out
set logscale x
set xlabel 'us'
set ylabel 'share of rounds'
set yrange [0:1]
set key bottom right
plot file using (strcol(1) eq 'mutex' ? column(3) / 1000 : NaN):(1) \
    smooth cnormal with lines lw 2 lc rgb grey title 'a robust mutex tells its one sleeper', \
    file using (strcol(1) eq 'leader' ? column(3) / 1000 : NaN):(1) \
    smooth cnormal with lines lw 2 lc rgb ours title 'the loader starts again, 100 waiters'
unset logscale
