// Package promtest asks Prometheus's own parser whether it understands the generated dashboards, rules and alerts; an
// expression that it does not is an empty graph, and a rule file with one is refused as a whole. The package is a module
// of its own, so that nothing else is built with Prometheus, and reads only the files.
package promtest

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func TestRules(t *testing.T) {
	for _, name := range []string{"rules.yml", "alerts.yml"} {
		groups, errs := rulefmt.ParseFile(filepath.Join("..", name), false, model.LegacyValidation, parser.NewParser(parser.Options{}),
			slog.New(slog.NewTextHandler(io.Discard, nil)))
		for _, err := range errs {
			t.Error(err)
		}
		rules := 0
		if groups != nil {
			for _, g := range groups.Groups {
				rules += len(g.Rules)
			}
		}
		if rules == 0 {
			t.Errorf("%s has no rules", name)
		}
	}
}

// TestPanels puts values for the variables, as Grafana does, and parses each query. An expression must give one value
// for each series and moment: a range, or a text, cannot be drawn.
func TestPanels(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "20s", "$cluster", ".*", "$instance", ".*")
	files, err := filepath.Glob("../*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Panels []struct {
				Type    string
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(content, &page); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		queries := 0
		for _, p := range page.Panels {
			for _, q := range p.Targets {
				queries++
				expr, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(q.Expr))
				if err != nil {
					t.Errorf("%s, %s: %s: %v", file, p.Title, q.Expr, err)
				} else if expr.Type() != parser.ValueTypeVector {
					t.Errorf("%s, %s: %s gives a %s", file, p.Title, q.Expr, expr.Type())
				}
			}
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s, %s: no query", file, p.Title)
			}
		}
		if queries == 0 {
			t.Errorf("%s has no queries", file)
		}
	}
}

// TestScrape checks that every job that a rule asks for is scraped, and that the files of rules are there. The whole
// check of this file needs Prometheus's packages for every cloud; promtool check config is the same without building them.
func TestScrape(t *testing.T) {
	content, err := os.ReadFile("../prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Job    string `yaml:"job_name"`
			Static []struct {
				Targets []string
				Labels  map[string]string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	jobs := map[string]bool{}
	for _, s := range config.Scrape {
		jobs[s.Job] = len(s.Static) == 1 && len(s.Static[0].Targets) == 1 && s.Static[0].Labels["cluster"] != ""
	}
	if len(config.RuleFiles) != 2 {
		t.Errorf("rule files %q, want two", config.RuleFiles)
	}
	for _, name := range config.RuleFiles {
		rules, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Error(err)
		}
		for i, rest := range strings.Split(string(rules), `job=\"`) {
			if job, _, _ := strings.Cut(rest, `\"`); i > 0 && !jobs[job] {
				t.Errorf("%s asks for the job %q, which is not scraped with a target and a cluster: %s", name, job, content)
			}
		}
	}
}
