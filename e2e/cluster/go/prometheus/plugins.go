// Package plugins takes the place of Prometheus's own of this name: it registers the one kind of discovery that a
// cluster needs, where the usual one has the SDKs of every cloud.
package plugins

import _ "github.com/prometheus/prometheus/discovery/kubernetes"
