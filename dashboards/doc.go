// Package dashboards keeps what an operator looks at from drifting away from what the broker says. A graph of a metric
// that was renamed is empty, an alert on it is silent, and both look like a system that is well. So panels, recording
// rules and alerts stand in Go tables here; the files that Grafana and Prometheus read are generated from them, and
// tests hold every name and label value in an expression to the /metrics of a running node, and every metric of a node
// to a panel.
//
//	panels.go    the panels of each dashboard: what a figure means and when to worry
//	load.go      those of the load generator's page
//	rules.go     objective, recording rules, alerts, what is scraped
//	grafana.go   tables -> Grafana's JSON
//	yaml.go      tables -> Prometheus's YAML
//	generate/    the command that writes the files
//	promtest/    a module of its own, for Prometheus's parser: it reads the generated files as Prometheus would
//
// live/ runs a real Prometheus on these files, with a cluster, a load and faults, and wants to see each panel and each alert move.
package dashboards

//go:generate go run ./generate .

import (
	"fmt"
	"strings"
)

// selected stands in the tables for the label matchers of the dashboards' variables.
const (
	selected  = "{@"
	variables = `{cluster=~"$cluster",instance=~"$instance"`
)

// File is a generated file.
type File struct {
	Name    string // without a folder
	Content []byte
}

// Files generates all files.
func Files() ([]File, error) {
	var files []File
	for _, d := range Dashboards {
		content, err := d.JSON()
		if err != nil {
			return nil, err
		}
		files = append(files, File{d.UID + ".json", content})
	}
	return append(files,
		File{"prometheus.yml", scrapeYAML()},
		File{"rules.yml", recordingYAML()},
		File{"alerts.yml", alertYAML()}), nil
}

// rate is what a counter of a table gains in a second, on each instance.
func rate(m fmt.Stringer) string { return fmt.Sprintf("rate(%v{@}[$__rate_interval])", m) }

// gauge is a gauge of a table.
func gauge(m fmt.Stringer) string { return fmt.Sprintf("%v{@}", m) }

// sumRate is rate, summed over everything but the instance and the labels of by.
func sumRate(m fmt.Stringer, by ...string) string {
	return fmt.Sprintf("sum by (%s) (%s)", strings.Join(append([]string{"instance"}, by...), ", "), rate(m))
}

// mean is the mean of what a histogram of the table saw.
func mean(m fmt.Stringer) string {
	return fmt.Sprintf("sum by (instance) (rate(%v_sum{@}[$__rate_interval])) / sum by (instance) (rate(%v_count{@}[$__rate_interval]))", m, m)
}

// quantiles are the median and the 99th percentile of a histogram, on each instance.
func quantiles(m fmt.Stringer) []Query {
	return []Query{{quantile("0.5", m), "{{instance}} p50"}, {quantile("0.99", m), "{{instance}} p99"}}
}

func quantile(q string, m fmt.Stringer, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%v_bucket{@}[$__rate_interval])))",
		q, strings.Join(append([]string{"instance", "le"}, by...), ", "), m)
}
