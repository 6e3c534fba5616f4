{{/* The release's name, with the chart's in it. */}}
{{- define "aiotest-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* For what has no namespace: two releases of one name don't meet. */}}
{{- define "aiotest-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "aiotest-operator.fullname" .) -}}
{{- end -}}

{{/* What the operator's pod is selected by; never changes. Masters and runners are `aiotest`, so they don't match. */}}
{{- define "aiotest-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "aiotest-operator.labels" -}}
{{ include "aiotest-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's full name: (dict "image" .Values.image "root" .) */}}
{{- define "aiotest-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "aiotest-operator.keySecret" -}}
{{- .Values.key.existingSecret | default (printf "%s-key" (include "aiotest-operator.fullname" .)) -}}
{{- end -}}

{{/* Whether this cluster knows ServiceMonitors and they are wanted; empty for no. */}}
{{- define "aiotest-operator.serviceMonitors" -}}
{{- if and .Values.serviceMonitor.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
yes
{{- end -}}
{{- end -}}

{{/* What the `restricted` standard asks of a pod and of its containers. */}}
{{- define "aiotest-operator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "aiotest-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
