// Package live asks whether dashboards and alerts would work on the day that they are needed. A name that exists, in an expression that
// parses, can still be a graph that stays empty or an alert that stays silent: a label that is not joined, a rate of a gauge, a threshold in
// the wrong unit. So a real Prometheus, with the tree's own scrape configuration and rules, scrapes a real cluster of three nodes and a
// real load, and must have an answer for every panel and every rule; then each alert's fault is brought about, and the alert must be
// pending and a panel that shows what it watches must have moved.
//
//	stack_test.go       brokers, load, Prometheus and node_exporter, as processes on loopback
//	prometheus_test.go  asking Prometheus
//	faults_test.go      what is done to see each alert
//	disk_test.go        a small file system, to be filled
//	live_test.go        the tests
//
// The short test has the faults that take seconds; with ACKLINE_NIGHTLY set there are all. An alert is seen pending, not firing: what lies
// between is Prometheus's own counting of minutes, and one of them is waited for in the long test.
package live
