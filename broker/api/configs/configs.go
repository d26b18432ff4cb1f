// Package configs describes topics' configurations as DescribeConfigs does: every key there is, with what a topic sets or the default
// that holds where it sets nothing, and which of the two it is.
package configs

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
	"ackline/broker/meta/topicconfig"
)

const (
	sourceTopic   = kmsg.ConfigSourceDynamicTopicConfig
	sourceDefault = kmsg.ConfigSourceDefaultConfig
)

// Describe returns the keys of a topic that are named, all of them for nil.
func Describe(t *meta.Topic, names []string, doc, synonyms bool) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	for _, c := range topicConfigs(t) {
		if names == nil || slices.Contains(names, c.key.Name) {
			out = append(out, describeConfig(c, doc, synonyms))
		}
	}
	return out
}

// topicConfig is one key of a topic with its effective value.
type topicConfig struct {
	key    topicconfig.Key
	value  string
	source kmsg.ConfigSource
	isSet  bool
}

// topicConfigs lists every key, its own value or the default.
func topicConfigs(t *meta.Topic) []topicConfig {
	keys := topicconfig.Keys()
	out := make([]topicConfig, len(keys))
	for i, k := range keys {
		out[i] = topicConfig{key: k, value: k.Default, source: sourceDefault}
		for _, c := range t.Configs {
			if c.Key == k.Name {
				out[i].value, out[i].source, out[i].isSet = c.Value, sourceTopic, true
			}
		}
	}
	return out
}

func describeConfig(c topicConfig, doc, synonyms bool) kmsg.DescribeConfigsResponseResourceConfig {
	rc := kmsg.NewDescribeConfigsResponseResourceConfig()
	rc.Name, rc.Value, rc.Source, rc.IsDefault = c.key.Name, &c.value, c.source, !c.isSet
	rc.ConfigType = kmsg.ConfigType(c.key.Type)
	if doc {
		rc.Documentation = &c.key.Doc
	}
	if synonyms {
		if c.isSet {
			rc.ConfigSynonyms = append(rc.ConfigSynonyms, synonym(c.key.Name, c.value, sourceTopic))
		}
		rc.ConfigSynonyms = append(rc.ConfigSynonyms, synonym(c.key.Name, c.key.Default, sourceDefault))
	}
	return rc
}

func synonym(name, value string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	s.Name, s.Value, s.Source = name, &value, source
	return s
}
