package live

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ackline/broker/testaddr"
)

// prometheus is a server with the configuration and the rules of this tree; only intervals and addresses are the test's.
type prometheus struct {
	t       *testing.T
	dir     string
	addr    string
	proc    *process
	started int
}

// interval is how often is scraped and evaluated.
const interval = "500ms"

func newPrometheus(t *testing.T, s *stack) *prometheus {
	t.Helper()
	p := &prometheus{t: t, dir: filepath.Join(s.dir, "prometheus"), addr: testaddr.Next(t)}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var brokers []string
	for _, n := range s.nodes {
		brokers = append(brokers, strconv.Quote(n.http))
	}
	content, err := os.ReadFile("../prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := string(content)
	for from, to := range map[string]string{
		"scrape_interval: 5s": "scrape_interval: " + interval, "evaluation_interval: 5s": "evaluation_interval: " + interval,
		`["127.0.0.1:9644"]`: "[" + strings.Join(brokers, ", ") + "]", `["127.0.0.1:9100"]`: "[" + strconv.Quote(s.machine.addr) + "]",
		`["127.0.0.1:9650"]`: "[" + strconv.Quote(s.loadAt) + ", " + strconv.Quote(s.checkAt) + "]",
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("%q stands %d times in prometheus.yml, want once", from, strings.Count(config, from))
		}
		config = strings.Replace(config, from, to, 1)
	}
	for name, text := range map[string]string{"prometheus.yml": config, "rules.yml": "", "alerts.yml": ""} {
		if text == "" {
			b, err := os.ReadFile("../" + name)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("promtool", "check", "config", filepath.Join(p.dir, "prometheus.yml")).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	p.start()
	return p
}

// start starts it without a past.
func (p *prometheus) start() {
	p.t.Helper()
	p.started++
	p.proc = start(p.t, "prometheus", "--config.file="+filepath.Join(p.dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(p.dir, fmt.Sprint("data", p.started)),
		"--web.listen-address="+p.addr, "--log.level=warn")
	until(p.t, "Prometheus", func() bool {
		_, err := get("http://" + p.addr + "/-/ready")
		return err == nil
	})
}

// forget begins again without a past, so that an average over hours is one over what comes now.
func (p *prometheus) forget() {
	p.t.Helper()
	p.proc.kill()
	p.start()
}

// sample is one series at one moment.
type sample struct {
	labels map[string]string
	value  float64
}

// ask evaluates an expression now, with what Grafana puts for the variables of a page.
func (p *prometheus) ask(expr string) []sample {
	p.t.Helper()
	expr = strings.NewReplacer("{@", `{cluster=~".*",instance=~".*"`, "$__rate_interval", "5s", "$cluster", ".*", "$instance", ".*").Replace(expr)
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := decode("http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		p.t.Fatalf("%s: %v", expr, err)
	}
	var out []sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			p.t.Fatalf("%s: %v", expr, r.Value)
		}
		out = append(out, sample{r.Metric, v})
	}
	return out
}

// finite are the samples with a value that can be drawn.
func finite(samples []sample) (out []sample) {
	for _, s := range samples {
		if !math.IsNaN(s.value) && !math.IsInf(s.value, 0) {
			out = append(out, s)
		}
	}
	return out
}

// alerts are the states ("pending", "firing") of what is active, by name, of the series that have the labels.
func (p *prometheus) alerts(labels map[string]string) map[string]string {
	p.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if err := decode("http://"+p.addr+"/api/v1/alerts", &answer); err != nil {
		p.t.Fatal(err)
	}
	out := map[string]string{}
	for _, a := range answer.Data.Alerts {
		if name := a.Labels["alertname"]; within(a.Labels, labels) && out[name] != "firing" {
			out[name] = a.State
		}
	}
	return out
}

// within reports whether a series has all labels.
func within(series, labels map[string]string) bool {
	for k, v := range labels {
		if series[k] != v {
			return false
		}
	}
	return true
}

// ruleTrouble lists the rules that Prometheus could not evaluate.
func (p *prometheus) ruleTrouble() (list []string, rules int) {
	p.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := decode("http://"+p.addr+"/api/v1/rules", &answer); err != nil {
		p.t.Fatal(err)
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if rules++; r.Health != "ok" {
				list = append(list, r.Name+" is "+r.Health+": "+r.LastError)
			}
		}
	}
	return list, rules
}
