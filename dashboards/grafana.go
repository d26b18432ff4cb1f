package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// schemaVersion is the form of the JSON, Grafana 12's. Newer versions of Grafana carry it on to theirs when they load it.
const schemaVersion = 42

// The grid is 24 wide.
const (
	gridWidth   = 24
	panelWidth  = 8
	panelHeight = 8
)

// object is a JSON object; encoding/json sorts its keys, so that the same table always gives the same bytes.
type object = map[string]any

// datasource is the variable by which whoever loads the page says which Prometheus it is.
var datasource = object{"type": "prometheus", "uid": "${datasource}"}

// JSON is the dashboard as Grafana loads it.
func (d Dashboard) JSON() ([]byte, error) {
	var panels []object
	y := 0
	add := func(p object, x, w, h int) {
		p["id"] = len(panels) + 1
		p["gridPos"] = object{"x": x, "y": y, "w": w, "h": h}
		panels = append(panels, p)
	}
	for _, r := range d.Rows {
		add(object{"type": "row", "title": r.Title, "collapsed": false, "panels": []object{}}, 0, gridWidth, 1)
		y++
		for i, p := range r.Panels {
			x := i * panelWidth % gridWidth
			if i > 0 && x == 0 {
				y += panelHeight
			}
			add(p.object(), x, panelWidth, panelHeight)
		}
		y += panelHeight
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"uid": d.UID, "title": d.Title, "tags": []string{"ackline"}, "schemaVersion": schemaVersion, "version": 1, "editable": true,
		"time": object{"from": "now-1h", "to": "now"}, "refresh": "10s", "timezone": "", "graphTooltip": 1,
		"templating": object{"list": []object{
			{"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"},
			variable("cluster", fmt.Sprintf(`label_values(%v, cluster)`, d.Info)),
			variable("instance", fmt.Sprintf(`label_values(%v{cluster=~"$cluster"}, instance)`, d.Info)),
		}},
		"panels": panels,
	})
	if err != nil {
		return nil, fmt.Errorf("dashboards: encode %s: %w", d.UID, err)
	}
	return out.Bytes(), nil
}

// variable is a choice among the values of a label. All is ".*", which also fits series without the label.
func variable(name, query string) object {
	return object{"type": "query", "name": name, "label": name, "datasource": datasource, "query": object{"query": query, "refId": name},
		"definition": query, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
		"current": object{"text": []string{"All"}, "value": []string{"$__all"}}}
}

func (p Panel) object() object {
	var targets []object
	for i, q := range p.Queries {
		targets = append(targets, object{"refId": string(rune('A' + i)), "expr": withVariables(q.Expr), "legendFormat": q.Legend,
			"datasource": datasource, "editorMode": "code", "range": true})
	}
	return object{"type": "timeseries", "title": p.Title, "description": p.Means + "\n\nWorry when: " + p.Worry, "datasource": datasource,
		"targets": targets,
		"fieldConfig": object{"defaults": object{"unit": p.Unit, "min": 0,
			"custom": object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": false}}, "overrides": []object{}},
		"options": object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"}}}
}

func withVariables(expr string) string { return strings.ReplaceAll(expr, selected, variables) }
