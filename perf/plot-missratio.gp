# SPDX-License-Identifier: BSD-2-Clause
# Miss ratio over size: a panel for each trace, a line for each policy.

traces = system("tail -n +2 '" . file . "' | cut -d, -f1 | uniq")
policies = 'fifo lru sieve s3fifo optimum shmcache'
titles = 'FIFO LRU SIEVE S3-FIFO optimum shmcache'
colors = '#bdbdbd #74a9cf #2c7fb8 #045a8d black ' . ours
columns = words(traces) < 3 ? words(traces) : 3
rows = (words(traces) + 2) / 3

set multiplot layout rows, columns title "Miss ratio over size; all but shmcache pay nothing for an entry beside its bytes"
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror out
set logscale x
set xtics ('1' 1, '3' 3, '10' 10, '30' 30)
set xrange [.9:33]
set key bottom left Left reverse samplen 1.5 font ',9'
do for [t = 1:words(traces)] {
	set title word(traces, t)
	set xlabel 'segment, % of the bytes of all objects'
	set ylabel (t % 3 == 1 ? 'misses per request' : '')
	set yrange [0:*]
	plot for [p = 1:words(policies)] file \
	    using (strcol(1) eq word(traces, t) && strcol(5) eq word(policies, p) ? column(2) : NaN):6 \
	    with linespoints pt 7 ps .5 lw (p == words(policies) ? 2.5 : 1.5) lc rgb word(colors, p) title word(titles, p)
	unset key
}
unset multiplot
unset logscale
set autoscale
