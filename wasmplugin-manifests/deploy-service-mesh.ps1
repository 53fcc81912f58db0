#!/usr/bin/env pwsh
#Requires -Version 7.2
# Puts the mesh and careplane into a cluster, shows what that would change, verifies it, or takes it out again: see --help.
#
# deploy-service-mesh.sh is the same program for bash, function by function; what one says and does, the other has to.
# Options can be written in either way: --gateway-url URL, -GatewayUrl URL.
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
[Console]::OutputEncoding = [System.Text.UTF8Encoding]::new($false)

$manager = 'careplane-deploy' # the field manager: what it has applied and others have changed, the next run sets right
$overlays = @('base', 'traffic-extension', 'ambient', 'one-plugin-per-filter', 'isolated', 'audit-only')
$ok = 0; $unverified = 1; $usage = 2; $prerequisite = 3; $unreachable = 4; $refused = 5; $timedOut = 6; $policyRefused = 7; $declined = 8
$tlsNamespace = 'core-healthcare'; $tlsSecret = 'writecarenotes-tls'; $keySecret = 'careplane-pseudonym-key'
$placeholder = 'oci://registry.example/'

$context = ''; $overlay = 'base'; $manifests = ''; $mode = 'plan'; $verify = $false; $yes = $false; $purge = $false; $timeout = '300s'
$image = ''; $forward = ''; $token = "$env:TOKEN"; $gatewayUrl = "$env:GATEWAY_URL"; $jaegerUrl = "$env:JAEGER_URL"
$careplane = if ($env:CAREPLANE) { $env:CAREPLANE } else { 'careplane' }
$work = ''; $forwarders = @(); $documents = @(); $istioOptions = @(); $differences = 0; $failures = 0; $port = ''

function Show-Help {
    @'
Puts the mesh and careplane into a cluster. Without --apply, --verify or --undo: shows what --apply would change, and changes nothing.

    deploy-service-mesh.ps1 [options]

what to do
    --apply            install Istio, apply the manifests in order, wait, and verify
    --verify           verify only: injection, mutual TLS, proxies in sync, plugins loaded, a trace in Jaeger
    --undo             remove what --apply made; what holds data or serves others stays, and is named
    --forward NAME     open jaeger, kiali, grafana or prometheus on this machine, until Ctrl-C

where and what
    --context NAME     context of the kubeconfig (default: the current one; it is shown, and changes are asked for)
    --overlay NAME     base, traffic-extension, ambient, one-plugin-per-filter, isolated or audit-only (default: base)
    --manifests DIR    folder with install, base and overlays (default: the folder of this script)
    --image URL        module image, oci://registry/repository:tag@sha256:digest, in place of the one in the manifests

how
    --yes              do not ask
    --purge            with --undo: also the pseudonym keys, the stored traces and records, and Istio although proxies still run
    --timeout TIME     how long each wait may take, in s or m (default: 300s)
    --token TOKEN      a valid access token: the verification then sends an accepted request in place of a refused one (or TOKEN)
    --gateway-url URL  where the ingress gateway's HTTPS port is reached, if not by port-forward (or GATEWAY_URL)
    --jaeger-url URL   where Jaeger's query port is reached, if not by port-forward (or JAEGER_URL)
    --help             this text

Needed: kubectl 1.30 or newer, istioctl 1.29 to 1.32, a cluster of Kubernetes 1.30 or newer, curl to verify, and a way to compare files
(diff or git). `careplane` in the PATH, or its place in CAREPLANE, has the policies checked before they are applied.

exit codes
    0  done, or nothing to do
    1  applied, but the verification failed
    2  wrong usage
    3  a prerequisite is missing or too old
    4  the cluster cannot be reached
    5  the cluster refused something
    6  a wait took longer than --timeout
    7  the policy was refused, by `careplane check` or by the admission policy
    8  not confirmed
'@
}

# --- output -------------------------------------------------------------------------------------------------------------------------

function Say([string] $Label, [string] $Text) { Write-Host ('{0,-14} {1}' -f $Label, $Text) }
function More([string] $Text) { Say '' $Text }
function Warn([string] $Text) { Say 'warning' $Text }
function Passed([string] $Label, [string] $Text) { Say $Label "ok: $Text" }
function Failed([string] $Label, [string] $Text) {
    $script:failures++
    Say $Label "FAILED: $Text"
}

function Fail([int] $Code, [string] $Message, [string[]] $Advice = @()) {
    [Console]::Error.WriteLine("error: $Message")
    foreach ($line in $Advice) { [Console]::Error.WriteLine("       $line") }
    exit $Code
}

function Write-Indented([string[]] $Lines) { foreach ($line in $Lines) { Write-Host (' ' * 15 + $line) } }
function Write-IndentedError([string] $Text) { foreach ($line in @(Split-Lines $Text)) { [Console]::Error.WriteLine(' ' * 15 + $line) } }
# Lists are given back item by item: whoever calls wraps them in @( ), so that none and one are lists too.
function Split-Lines([string] $Text) { $Text -split '\r?\n' | Where-Object { $_ -ne '' } }
function Get-LastLine([string] $Text) { $lines = @(Split-Lines $Text); if ($lines.Count) { $lines[-1] } else { '' } }

function Clear-Work {
    foreach ($process in $script:forwarders) { if (-not $process.HasExited) { $process.Kill() } }
    if ($script:work) { Remove-Item -Recurse -Force -ErrorAction SilentlyContinue $script:work }
}

# --- processes ----------------------------------------------------------------------------------------------------------------------

# By .NET rather than by `&`: arguments, standard input and the two outputs stay apart and unchanged, on every system.
function New-Start([string] $Program, [string[]] $Arguments) {
    $start = [System.Diagnostics.ProcessStartInfo]::new($Program)
    foreach ($argument in $Arguments) { $start.ArgumentList.Add($argument) }
    $start.UseShellExecute = $false
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [System.Text.UTF8Encoding]::new($false)
    $start
}

function Invoke-Program([string] $Program, [string[]] $Arguments, [string] $InputText = '') {
    $process = [System.Diagnostics.Process]::Start((New-Start $Program $Arguments))
    $output = $process.StandardOutput.ReadToEndAsync()
    $errors = $process.StandardError.ReadToEndAsync()
    if ($InputText) { $process.StandardInput.Write($InputText) }
    $process.StandardInput.Close()
    $process.WaitForExit()
    [pscustomobject]@{ Code = $process.ExitCode; Output = $output.Result; Errors = $errors.Result }
}

function Invoke-Kubectl([string[]] $Arguments, [string] $InputText = '') { Invoke-Program 'kubectl' (@('--context', $script:context) + $Arguments) $InputText }
function Invoke-Istioctl([string[]] $Arguments) { Invoke-Program 'istioctl' (@('--context', $script:context) + $Arguments) }

# --- options ------------------------------------------------------------------------------------------------------------------------

function Stop-Usage([string] $Message) { Fail $usage $Message @('deploy-service-mesh.ps1 --help lists the options') }

function Set-Mode([string] $Mode) {
    if ($script:mode -ne 'plan' -and $script:mode -ne $Mode) { Stop-Usage "--$($script:mode) and --$Mode exclude each other" }
    $script:mode = $Mode
}

function Read-Options([string[]] $Options) {
    $values = @('--context', '--overlay', '--manifests', '--timeout', '--image', '--forward', '--token', '--gateway-url', '--jaeger-url')
    for ($at = 0; $at -lt $Options.Count; $at++) {
        $option = $Options[$at]
        # -GatewayUrl is --gateway-url
        if ($option -cmatch '^-[A-Za-z]{2}') { $option = '--' + ($option.Substring(1) -creplace '(?<=[a-z])(?=[A-Z])', '-').ToLowerInvariant() }
        $value = ''
        if ($values -ccontains $option) {
            if ($at + 1 -ge $Options.Count -or $Options[$at + 1] -eq '') { Stop-Usage "$option needs a value" }
            $at++
            $value = $Options[$at]
        }
        switch -CaseSensitive ($option) {
            '--context' { $script:context = $value }
            '--overlay' { $script:overlay = $value }
            '--manifests' { $script:manifests = $value }
            '--timeout' { $script:timeout = $value }
            '--image' { $script:image = $value }
            '--token' { $script:token = $value }
            '--gateway-url' { $script:gatewayUrl = $value }
            '--jaeger-url' { $script:jaegerUrl = $value }
            '--forward' { Set-Mode 'forward'; $script:forward = $value }
            '--apply' { Set-Mode 'apply' }
            '--undo' { Set-Mode 'undo' }
            '--verify' { $script:verify = $true }
            '--yes' { $script:yes = $true }
            '--purge' { $script:purge = $true }
            '--help' { Show-Help; exit $ok }
            '-h' { Show-Help; exit $ok }
            default { Stop-Usage "unknown option $option" }
        }
    }
    if ($overlays -cnotcontains $script:overlay) { Stop-Usage "--overlay $($script:overlay): there is $($overlays -join ', ')" }
    if (@('', 'jaeger', 'kiali', 'grafana', 'prometheus') -cnotcontains $script:forward) { Stop-Usage "--forward $($script:forward): there is jaeger, kiali, grafana, prometheus" }
    if ($script:timeout -cnotmatch '^[1-9][0-9]{0,4}(s|m)$') { Stop-Usage "--timeout $($script:timeout): write seconds or minutes, for example 300s or 5m" }
    if ($script:image -and $script:image -cnotmatch '^oci://[^/@]+/[^@]*[^/@:]+(:[^/@:]+)?(@sha256:[0-9a-f]{64})?$') {
        Stop-Usage "--image $($script:image): write oci://registry/repository:tag, best with @sha256:digest"
    }
    if ($script:verify -and $script:mode -eq 'plan') { $script:mode = 'verify' } # --apply verifies anyway
    elseif ($script:verify -and $script:mode -ne 'apply') { Stop-Usage "--$($script:mode) and --verify exclude each other" }
    if ($script:purge -and $script:mode -ne 'undo') { Stop-Usage '--purge goes with --undo' }
    if (-not $script:manifests) { $script:manifests = $PSScriptRoot }
    if (-not (Test-Path "$($script:manifests)/install/istio.yaml") -or -not (Test-Path "$($script:manifests)/base/kustomization.yaml")) {
        Stop-Usage "--manifests $($script:manifests): no install/istio.yaml and base/kustomization.yaml there"
    }
}

function Get-Seconds {
    $number = [int] $timeout.Substring(0, $timeout.Length - 1)
    if ($timeout.EndsWith('m')) { $number * 60 } else { $number }
}

# --- prerequisites ------------------------------------------------------------------------------------------------------------------

function Test-Program([string] $Program) { $null -ne (Get-Command $Program -CommandType Application -ErrorAction SilentlyContinue) }

function Assert-Program([string] $Program, [string] $Purpose) {
    if (-not (Test-Program $Program)) { Fail $prerequisite "$Program is not in the PATH: $Purpose" }
}

# v1.36.3 → 36; -1 for what is no version 1
function Get-Minor([string] $Version) { if ($Version -match '^v?1\.(\d+)') { [int] $Matches[1] } else { -1 } }
function Get-JsonField([string] $Text, [string] $Field) { if ($Text -match ('"' + $Field + '": *"([^"]*)"')) { $Matches[1] } else { '' } }
function Get-OrElse([string] $Text, [string] $Otherwise) { if ($Text) { $Text } else { $Otherwise } }

function Test-Tools {
    Assert-Program 'kubectl' 'install kubectl 1.30 or newer, https://kubernetes.io/docs/tasks/tools/'
    $client = Get-JsonField (Invoke-Program 'kubectl' @('version', '--client', '-o', 'json')).Output 'gitVersion'
    if ((Get-Minor $client) -lt 30) {
        Fail $prerequisite "kubectl is $(Get-OrElse $client 'of an unknown version'): 1.30 or newer is needed" @('https://kubernetes.io/docs/tasks/tools/')
    }
    if ($mode -eq 'forward') { return }

    Assert-Program 'istioctl' 'install istioctl 1.29 to 1.32, best 1.31, https://istio.io/latest/docs/setup/additional-setup/download-istio-release/'
    $istio = Get-JsonField (Invoke-Program 'istioctl' @('version', '--remote=false', '-o', 'json')).Output 'version'
    $minor = Get-Minor $istio
    if ($minor -lt 0) {
        Warn "istioctl does not say its version ($(Get-OrElse $istio 'nothing')): 1.29 to 1.32 is needed"
    } elseif ($minor -lt 29 -or $minor -gt 32) {
        Fail $prerequisite "istioctl is ${istio}: 1.29 to 1.32 is needed" @('https://istio.io/latest/docs/setup/additional-setup/download-istio-release/')
    }
    if (@('plan', 'apply') -contains $mode -and -not (Test-Program 'diff')) {
        Assert-Program 'git' 'kubectl compares with diff, or with git: install one of them'
        $env:KUBECTL_EXTERNAL_DIFF = 'git diff --no-index --no-color'
    }
    if (@('apply', 'verify') -contains $mode) { Assert-Program 'curl' 'the verification sends requests with it' }
    Say 'tools' "kubectl $($client -replace '^v', ''), istioctl $(Get-OrElse $istio 'unknown')"
}

function Connect-Cluster {
    $contexts = @(Split-Lines (Invoke-Program 'kubectl' @('config', 'get-contexts', '-o', 'name')).Output) -join ' '
    if (-not $script:context) {
        $current = Invoke-Program 'kubectl' @('config', 'current-context')
        if ($current.Code -ne 0) { Fail $unreachable 'the kubeconfig has no current context: choose one with --context' @("there is: $contexts") }
        $script:context = $current.Output.Trim()
    }
    if ((Invoke-Program 'kubectl' @('config', 'get-contexts', $context)).Code -ne 0) {
        Fail $unreachable "the kubeconfig has no context $context" @("there is: $contexts")
    }
    $server = (Invoke-Kubectl @('config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}')).Output
    $answer = Invoke-Kubectl @('get', '--raw', '/version', '--request-timeout=15s')
    if ($answer.Code -ne 0) {
        Fail $unreachable "the cluster of context $context ($server) does not answer: $(Get-LastLine $answer.Errors)" @("try: kubectl --context $context version")
    }
    $version = Get-JsonField $answer.Output 'gitVersion'
    if ((Get-Minor $version) -lt 30) {
        Fail $prerequisite "the cluster is Kubernetes $(Get-OrElse $version 'of an unknown version'): 1.30 or newer is needed, for admission policies in CEL"
    }
    Say 'cluster' "context $context, $server, Kubernetes $($version -replace '^v', '')"
}

function Confirm-Change([string] $What) {
    if ($yes) { return }
    if ([Console]::IsInputRedirected) { Fail $declined "there is no terminal to ask on: to go on in context $context, add --yes" }
    Write-Host -NoNewline "$What in context ${context}? [y/N] "
    $answer = [Console]::ReadLine()
    if (@('y', 'Y', 'yes') -cnotcontains $answer) { Fail $declined 'not confirmed, nothing was changed' }
}

# --- manifests ----------------------------------------------------------------------------------------------------------------------

# The text of a manifest as a list of what is in it.
function Read-Documents([string] $Text) {
    foreach ($document in ($Text -split '(?m)^---.*\n')) {
        if (-not ($document -cmatch '(?m)^kind: (\S+)')) { continue }
        $kind = $Matches[1]
        $api = if ($document -cmatch '(?m)^apiVersion: (\S+)') { $Matches[1] } else { '' }
        $metadata = if ($document -cmatch '(?m)^metadata:.*\n((?: .*\n)*)') { $Matches[1] } else { '' }
        $name = if ($metadata -cmatch '(?m)^  name: "?([^"\s]+)') { $Matches[1] } else { '' }
        $namespace = if ($metadata -cmatch '(?m)^  namespace: (\S+)') { $Matches[1] } else { '' }
        [pscustomobject]@{
            Step      = Get-Step $api $kind
            Api       = $api
            Kind      = $kind
            Namespace = $namespace
            Name      = $name
            Mesh      = $metadata -cmatch '(?m)^    (istio-injection: enabled|istio\.io/dataplane-mode: ambient)\r?$'
            Text      = $document
            Label     = $kind + ' ' + $(if ($namespace) { "$namespace/" } else { '' }) + $name
        }
    }
}

function Get-Step([string] $Api, [string] $Kind) {
    $group = if ($Api.Contains('/')) { $Api -replace '/.*', '' } else { '' }
    if ($Kind -ceq 'Namespace' -or $Kind -ceq 'ServiceAccount') { 'namespaces' }
    elseif (@('security.istio.io', 'networking.k8s.io', 'rbac.authorization.k8s.io') -ccontains $group) { 'security' }
    elseif (@('networking.istio.io', 'gateway.networking.k8s.io') -ccontains $group) { 'traffic' }
    elseif ($group -ceq 'admissionregistration.k8s.io') { 'admission' }
    elseif ($group -ceq 'extensions.istio.io') { 'careplane' }
    else { 'observability' }
}

# Writes documents to a file of the working folder, and gives its path.
function Write-Documents([string] $File, [object[]] $Documents) {
    $path = Join-Path $work $File
    [System.IO.File]::WriteAllText($path, (($Documents | ForEach-Object { "---`n" + $_.Text }) -join ''))
    $path
}

function Get-Part([string] $Step) { $script:documents | Where-Object { $_.Step -ceq $Step } }

# The whole tree is rendered once and taken apart by API group, so that every overlay is applied in the same order, and what is
# applied is what `kubectl apply -k` would.
function Read-Manifests {
    $folder = if ($overlay -eq 'base') { "$manifests/base" } else { "$manifests/overlays/$overlay" }
    $rendered = Invoke-Program 'kubectl' @('kustomize', $folder)
    if ($rendered.Code -ne 0) {
        Fail $usage "$folder cannot be rendered: $(Get-LastLine $rendered.Errors)" @("try: kubectl kustomize $folder")
    }
    $text = $rendered.Output
    if ($image) {
        # Of several modules, each keeps its name: careplane-audit comes from beside careplane. A digest belongs to one of them.
        $repository = $image -replace '@.*', ''
        $tag = if ($repository -match ':[^/:]*$') { $Matches[0] } else { '' }
        $repository = $repository.Substring(0, $repository.Length - $tag.Length) -replace '/[^/]*$', ''
        $text = [regex]::Replace($text, '(?m)^( *url: )oci://\S*?([^/\s:@]+)(:[^/\s@]*)?(@\S+)?(?=\r?$)', {
                param($found)
                $name = $found.Groups[2].Value
                if ($found.Value -notmatch 'careplane') { $found.Value }
                elseif ($name -ceq 'careplane') { $found.Groups[1].Value + $image }
                else { $found.Groups[1].Value + "$repository/$name$tag" }
            })
    }
    [System.IO.File]::WriteAllText((Join-Path $work 'rendered.yaml'), $text)
    $script:documents = @(Read-Documents $text)
    Say 'manifests' "$manifests, $overlay"
}

function Get-MeshNamespaces { $script:documents | Where-Object { $_.Kind -ceq 'Namespace' -and $_.Mesh } | ForEach-Object { $_.Name } }
function Get-AllNamespaces { $script:documents | Where-Object { $_.Kind -ceq 'Namespace' } | ForEach-Object { $_.Name } }

# Of the documents, those that the cluster can judge today, and those whose namespace or kind is not there yet. (A dry run on the server
# needs both.)
function Split-Known([object[]] $Documents) {
    $namespaces = Invoke-Kubectl @('get', 'namespaces', '-o', 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}')
    $apis = Invoke-Kubectl @('api-versions')
    if ($namespaces.Code -ne 0) { Fail $unreachable "the cluster does not say what it has: $(Get-LastLine $namespaces.Errors)" }
    if ($apis.Code -ne 0) { Fail $unreachable "the cluster does not say what it has: $(Get-LastLine $apis.Errors)" }
    $there = @(Split-Lines $namespaces.Output)
    $served = @(Split-Lines $apis.Output)
    $known, $unknown = @($Documents).Where({ $served -ccontains $_.Api -and (-not $_.Namespace -or $there -ccontains $_.Namespace) }, 'Split')
    [pscustomobject]@{ Known = @($known); Unknown = @($unknown) }
}

# What is new and what has changed (lists), and the differences (without what is new)
function Compare-Part([string] $Part, [object[]] $Documents) {
    $split = Split-Known $Documents
    $new = @($split.Unknown | ForEach-Object { $_.Label })
    $changed = @()
    $difference = @()
    if ($split.Known.Count) {
        $file = Write-Documents "$Part.known" $split.Known
        $answer = Invoke-Kubectl @('diff', '--server-side', '--force-conflicts', "--field-manager=$manager", '-f', $file)
        if ($answer.Code -gt 1) { Stop-Refused $Part 'compared' $answer.Errors }
        # The name of a file is group.version.Kind.namespace.name; a hunk that begins at line 0 belongs to a new one.
        foreach ($section in ($answer.Output -split '(?m)^(?=diff )')) {
            if (-not ($section -cmatch '^diff .*[/\\](?:[^/\\\s]*?\.)?([A-Z][A-Za-z0-9]*)\.([^.\s]*)\.(\S+)')) { continue }
            $label = $Matches[1] + ' ' + $(if ($Matches[2]) { $Matches[2] + '/' } else { '' }) + $Matches[3]
            if ($section -match '(?m)^@@ -0,0 ') { $new += $label; continue }
            $changed += $label
            $difference += $label
            $difference += @(Split-Lines $section | Select-Object -Skip 1 | Where-Object { $_ -cnotmatch '^(---|\+\+\+|index|new file mode) ' })
        }
    }
    $script:differences += $new.Count + $changed.Count
    [pscustomobject]@{ Total = @($Documents).Count; New = $new; Changed = $changed; Difference = $difference }
}

function Stop-Refused([string] $Part, [string] $Verb, [string] $Reason) {
    Write-IndentedError $Reason
    if ($Reason.Contains('ValidatingAdmissionPolicy')) {
        Fail $policyRefused "the admission policy refuses $Part" @('correct the policy, and try it with: careplane check')
    }
    if ($Reason -match 'forbidden') {
        Fail $refused "$Part cannot be ${Verb}: this account may not; use one that is cluster-admin"
    }
    if ($Reason.Contains('failed calling webhook')) {
        Fail $refused "$Part cannot be ${Verb}: istiod, which validates it, does not answer" @("try: kubectl --context $context -n istio-system get pods")
    }
    Fail $refused "$Part cannot be ${Verb}: the reason is above"
}

function Write-Summary([string] $Label, [object] $Comparison, [string] $NewWord, [string] $ChangedWord) {
    $text = ''
    if ($Comparison.New.Count) { $text = "$($Comparison.New.Count) $NewWord, " }
    if ($Comparison.Changed.Count) { $text = "$text$($Comparison.Changed.Count) $ChangedWord, " }
    Say $Label "$text$($Comparison.Total - $Comparison.New.Count - $Comparison.Changed.Count) unchanged"
    Write-Indented @($Comparison.New | ForEach-Object { "${NewWord}: $_" })
}

# The dry run of one step
function Show-Part([string] $Part, [object[]] $Documents) {
    $comparison = Compare-Part $Part $Documents
    Write-Summary $Part $comparison 'to be made' 'to be changed'
    Write-Indented $comparison.Difference
}

function Install-Part([string] $Part) {
    $own = @(Get-Part $Part)
    $comparison = Compare-Part $Part $own
    if ($comparison.New.Count + $comparison.Changed.Count) {
        # Namespaces and policies of a step may be needed by its other documents: kubectl orders them.
        $answer = Invoke-Kubectl @('apply', '--server-side', '--force-conflicts', "--field-manager=$manager", '-f', (Write-Documents "$Part.yaml" $own))
        if ($answer.Code -ne 0) { Stop-Refused $Part 'applied' $answer.Errors }
        Write-Indented @(Split-Lines $answer.Errors | Where-Object { $_.StartsWith('Warning: ') } | Sort-Object -Unique)
    }
    Write-Summary $Part $comparison 'made' 'changed'
    Write-Indented @($comparison.Changed | ForEach-Object { "changed: $_" })
}

# --- steps --------------------------------------------------------------------------------------------------------------------------

function Test-Image {
    if (-not (Get-Part 'careplane' | Where-Object { $_.Text.Contains("url: $placeholder") })) { return }
    if ($mode -eq 'apply') {
        Fail $usage "the manifests still have the placeholder $placeholder…: a proxy that cannot fetch the module refuses every request" @(
            'push the module to your registry, then: --image oci://registry/repository:tag@sha256:digest')
    }
    Warn "the manifests have the placeholder $placeholder…: --apply needs --image, or your address in base/careplane/policy/image.yaml"
}

function Test-Policy {
    if (-not (Test-Program $careplane)) {
        Warn 'careplane is not in the PATH: the policies are not checked beforehand, only by admission'
        return
    }
    $rendered = Join-Path $work 'rendered.yaml'
    $answer = Invoke-Program $careplane @('check', '--format', 'short', "$manifests/install/istio.yaml", $rendered)
    # Places in a file that is gone afterwards help nobody.
    $findings = @(Split-Lines ($answer.Output + $answer.Errors) | ForEach-Object { $_ -replace ('^' + [regex]::Escape($rendered) + ':[0-9:]* '), '' } | Sort-Object -Unique)
    if ($answer.Code -eq 0) {
        Say 'policies' 'ok: careplane check has no objection'
        Write-Indented @($findings | Where-Object { $_.StartsWith('warning: ') })
    } else {
        Write-IndentedError ($findings -join "`n")
        Fail $policyRefused 'careplane check refuses the policies: nothing of careplane was changed' @(
            'applied all the same, a proxy that starts with them would answer every request with 500')
    }
}

# The key as it is stored, in base64; nothing when there is none. Only ever held in variables, written to nothing.
function Get-Key([string] $Namespace) {
    (Invoke-Kubectl @('-n', $Namespace, 'get', 'secret', $keySecret, '--ignore-not-found', '-o', 'jsonpath={.data.key}')).Output
}

function New-Key { [Convert]::ToHexString([System.Security.Cryptography.RandomNumberGenerator]::GetBytes(32)).ToLowerInvariant() }

# One key for all namespaces: with two, a person has two pseudonyms.
function Install-Keys {
    $key = ''; $missing = ''; $differ = ''
    foreach ($namespace in @(Get-MeshNamespaces)) {
        $found = Get-Key $namespace
        if (-not $found) { $missing += " $namespace" }
        elseif (-not $key) { $key = $found }
        elseif ($found -cne $key) { $differ += " $namespace" }
    }
    if ($differ) { Warn "Secret $keySecret differs in${differ}: a person has another pseudonym there" }
    if (-not $missing) {
        Say 'keys' "unchanged: Secret $keySecret is in every namespace of the mesh"
        return
    }
    $script:differences++
    if ($mode -ne 'apply') {
        Say 'keys' "to be made: Secret $keySecret, the same random key in$missing"
        return
    }
    if (-not $key) { $key = [Convert]::ToBase64String([System.Text.Encoding]::ASCII.GetBytes((New-Key))) }
    foreach ($namespace in $missing.Trim().Split(' ')) {
        # On standard input: arguments can be seen by every process of this machine.
        $secret = @{apiVersion = 'v1'; kind = 'Secret'; metadata = @{name = $keySecret; namespace = $namespace }; type = 'Opaque'; data = @{key = $key } }
        $answer = Invoke-Kubectl @('create', '-f', '-') (ConvertTo-Json $secret)
        if ($answer.Code -ne 0) { Stop-Refused 'keys' 'made' $answer.Errors }
    }
    Say 'keys' "made: Secret $keySecret, the same random key in$missing"
}

function Test-Certificate { (Invoke-Kubectl @('-n', $tlsNamespace, 'get', 'secret', $tlsSecret)).Code -eq 0 }

function Show-Certificate {
    if (Test-Certificate) {
        Say 'certificate' "ok: Secret $tlsSecret is in $tlsNamespace"
        return
    }
    Warn "Secret $tlsSecret is not in ${tlsNamespace}: the gateway serves no HTTPS without it. With your certificate:"
    More "kubectl --context $context -n $tlsNamespace create secret tls $tlsSecret --cert=tls.crt --key=tls.key"
}

# What `istioctl install` would apply, less what the installation itself changes in the cluster afterwards: labels that name it, the
# injector's webhook (a revision tag takes its place), and the failure policy of the validating one (istiod sets it once it runs).
function Read-IstioManifests {
    $answer = Invoke-Program 'istioctl' (@('manifest', 'generate') + $istioOptions)
    if ($answer.Code -ne 0) { Fail $usage "$manifests/install/istio.yaml cannot be rendered: $(Get-LastLine $answer.Errors)" }
    $text = $answer.Output -replace '(?m)^.*install\.operator\.istio\.io/owning-resource: unknown\r?\n', '' -replace '(?m)^ *failurePolicy: Ignore\r?\n', ''
    Read-Documents $text | Where-Object { $_.Kind -cne 'MutatingWebhookConfiguration' }
}

function Install-Istio([object[]] $Istio) {
    $comparison = Compare-Part 'istio' $Istio
    if ($comparison.New.Count + $comparison.Changed.Count -eq 0) {
        Write-Summary 'istio' $comparison 'made' 'changed'
        return
    }
    Say 'istio' "istioctl install: $($comparison.New.Count) to be made, $($comparison.Changed.Count) to be changed; waits up to $timeout"
    $answer = Invoke-Istioctl (@('install') + $istioOptions + @('--skip-confirmation', '--readiness-timeout', $timeout))
    if ($answer.Code -ne 0) {
        $text = $answer.Output + $answer.Errors
        Write-IndentedError (@(Split-Lines $text | Where-Object { $_.Trim() } | Select-Object -Last 15) -join "`n")
        if ($text -match 'not ready|deadline exceeded') {
            Fail $timedOut "Istio was installed and is not ready after $timeout" @(
                "try: kubectl --context $context -n istio-system get pods; kubectl --context $context -n $tlsNamespace get pods"
                'then run this again')
        }
        Fail $refused 'istioctl install failed: the reason is above'
    }
    Write-Summary 'istio' $comparison 'made' 'changed'
    Write-Indented @($comparison.Changed | ForEach-Object { "changed: $_" })
}

function Wait-Rollouts([object[]] $Documents, [string] $Label) {
    $waited = 0
    foreach ($workload in ($Documents | Where-Object { @('Deployment', 'StatefulSet', 'DaemonSet') -ccontains $_.Kind })) {
        $kind = $workload.Kind.ToLowerInvariant(); $namespace = $workload.Namespace; $name = $workload.Name
        $answer = Invoke-Kubectl @('-n', $namespace, 'rollout', 'status', "$kind/$name", "--timeout=$timeout")
        if ($answer.Code -ne 0) {
            Write-IndentedError (@(Split-Lines ($answer.Output + $answer.Errors) | Select-Object -Last 3) -join "`n")
            Fail $timedOut "$kind $namespace/$name is not ready after $timeout" @(
                "try: kubectl --context $context -n $namespace describe $kind $name"
                'then run this again')
        }
        $waited++
    }
    Say $Label "ok: $waited workloads ready"
}

# A policy that was just made is not at work yet. A plugin that it has to refuse, sent as a dry run, tells when it is.
function Wait-Admission {
    if (@(Get-Part 'admission').Count -eq 0) { return }
    $plugin = @(
        'apiVersion: extensions.istio.io/v1alpha1', 'kind: WasmPlugin'
        'metadata: {name: careplane-without-policy, namespace: istio-system, labels: {app.kubernetes.io/name: careplane}}'
        'spec: {url: "oci://registry.example/careplane"}') -join "`n"
    $tries = 0
    while ((Invoke-Kubectl @('create', '--dry-run=server', '-f', '-') $plugin).Errors -cnotmatch "ValidatingAdmissionPolicy 'careplane-plugins'.* denied") {
        $tries++
        if ($tries -gt 30) {
            Fail $timedOut 'the admission policy does not refuse a plugin without a policy, 30 s after it was applied' @(
                "try: kubectl --context $context get validatingadmissionpolicybindings")
        }
        Start-Sleep -Seconds 1
    }
    More 'ok: refuses a plugin that has no policy'
}

# Those plugins of ours that the cluster has
function Read-Plugins {
    foreach ($kind in 'WasmPlugin', 'TrafficExtension') {
        $answer = Invoke-Kubectl @('get', "$kind.extensions.istio.io", '-A', '-l', 'app.kubernetes.io/name=careplane',
            '-o', 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}')
        foreach ($line in @(Split-Lines $answer.Output)) {
            $namespace, $name = $line.Split(' ')
            [pscustomobject]@{ Kind = $kind; Namespace = $namespace; Name = $name }
        }
    }
}

# Plugins of ours that the chosen overlay does not have: those of another one, chosen before. Left there, each request would be
# handled twice.
function Remove-Strangers {
    $why = if ($mode -eq 'undo') { '' } else { ", which $overlay does not have" }
    foreach ($plugin in @(Read-Plugins)) {
        $kind = $plugin.Kind; $namespace = $plugin.Namespace; $name = $plugin.Name
        if ($script:documents | Where-Object { $_.Label -ceq "$kind $namespace/$name" }) { continue }
        $script:differences++
        if ($mode -eq 'plan') {
            More "to be removed: $kind $namespace/$name$why"
        } else {
            $answer = Invoke-Kubectl @('-n', $namespace, 'delete', "$kind.extensions.istio.io", $name, '--ignore-not-found')
            if ($answer.Code -ne 0) { Stop-Refused 'careplane' 'removed' $answer.Errors }
            More "removed: $kind $namespace/$name$why"
        }
    }
}

function Test-GatewayApi {
    if (-not ($script:documents | Where-Object { $_.Api.StartsWith('gateway.networking.k8s.io/') })) { return }
    if ((Invoke-Kubectl @('api-versions')).Output -match '(?m)^gateway\.networking\.k8s\.io/') { return }
    Fail $prerequisite "overlay $overlay needs the Gateway API, which this cluster does not have" @(
        'install its standard channel: https://gateway-api.sigs.k8s.io/guides/')
}

function Show-Plan {
    Say 'mode' 'dry run: nothing is changed; --apply applies'
    Test-Image
    Test-Policy
    Show-Part 'namespaces' @(Get-Part 'namespaces')
    Install-Keys
    Show-Certificate
    Show-Part 'istio' @(Read-IstioManifests)
    Test-GatewayApi
    foreach ($part in 'security', 'traffic', 'observability', 'admission', 'careplane') { Show-Part $part @(Get-Part $part) }
    Remove-Strangers
    if ($differences -eq 0) {
        Say 'finished' 'nothing to do: the cluster is as the manifests say'
    } else {
        Say 'finished' 'nothing was changed: --apply applies this'
    }
}

function Install-All {
    Say 'mode' 'apply'
    Test-Image
    Test-Policy
    Test-GatewayApi
    Confirm-Change 'Install Istio and apply the manifests'
    Install-Part 'namespaces'
    Install-Keys
    Show-Certificate
    $istio = @(Read-IstioManifests)
    Install-Istio $istio
    Wait-Rollouts $istio 'istio ready'
    Install-Part 'security'
    Install-Part 'traffic'
    Install-Part 'observability'
    Install-Part 'admission'
    Wait-Admission
    Install-Part 'careplane'
    Remove-Strangers
    Wait-Rollouts $script:documents 'ready'
    if ($differences -eq 0) {
        Say 'applied' 'nothing was changed: the cluster was as the manifests say'
    } else {
        Say 'applied' 'the cluster is as the manifests say'
    }
}

# --- verification -------------------------------------------------------------------------------------------------------------------

function Read-Pods {
    $fields = '{.metadata.namespace}|{.metadata.name}|{.status.phase}|{.spec.hostNetwork}|{.spec.initContainers[*].name} {.spec.containers[*].name}|' +
        '{.metadata.labels.sidecar\.istio\.io/inject}|{.metadata.annotations.ambient\.istio\.io/redirection}|{.metadata.labels.istio}'
    $answer = Invoke-Kubectl @('get', 'pods', '-A', '-o', "jsonpath={range .items[*]}$fields{`"\n`"}{end}")
    if ($answer.Code -ne 0) { Fail $unreachable "the pods cannot be listed: $(Get-LastLine $answer.Errors)" }
    foreach ($line in @(Split-Lines $answer.Output)) {
        $field = $line.Split('|')
        [pscustomobject]@{
            Namespace   = $field[0]
            Name        = $field[1]
            Phase       = $field[2]
            HostNetwork = $field[3] -eq 'true'
            Proxy       = $field[4].Split(' ') -ccontains 'istio-proxy'
            Inject      = $field[5]
            Redirected  = $field[6] -eq 'enabled'
            Istio       = $field[7]
        }
    }
}

function Get-Labelled([string] $Label) {
    Split-Lines (Invoke-Kubectl @('get', 'namespaces', '-l', $Label, '-o', 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}')).Output
}

function Test-Injection([object[]] $Pods) {
    $sidecars = @(Get-Labelled 'istio-injection=enabled')
    $tunnels = @(Get-Labelled 'istio.io/dataplane-mode=ambient')
    $with = 0
    $without = ''
    foreach ($pod in $Pods) {
        if (@('Succeeded', 'Failed') -ccontains $pod.Phase -or $pod.HostNetwork -or $pod.Inject -eq 'false') { continue }
        if ($sidecars -ccontains $pod.Namespace) { $has = $pod.Proxy }
        elseif ($tunnels -ccontains $pod.Namespace) { $has = $pod.Proxy -or $pod.Redirected }
        else { continue }
        if ($has) { $with++ } else { $without += " $($pod.Namespace)/$($pod.Name)" }
    }
    if ($sidecars.Count + $tunnels.Count -eq 0) {
        Failed 'injection' 'no namespace is labelled for it: run --apply'
    } elseif ($without) {
        Failed 'injection' "without a proxy:$without"
        More "they were there before the label: kubectl --context $context -n NAMESPACE rollout restart deployment"
    } else {
        Passed 'injection' "$with pods, each with a proxy"
    }
}

function Test-MutualTls {
    $answer = Invoke-Kubectl @('get', 'peerauthentications.security.istio.io', '-A', '-o',
        'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.selector.matchLabels} mode={.spec.mtls.mode} {.spec.portLevelMtls}{"\n"}{end}')
    $peers = @(Split-Lines $answer.Output)
    $weak = (@($peers | Where-Object { $_ -cmatch 'mode=(PERMISSIVE|DISABLE)|"mode":"(PERMISSIVE|DISABLE)"' } | ForEach-Object { $_.Split(' ')[0] }) -join ' ')
    if (-not ($peers | Where-Object { $_ -cmatch '^istio-system/[^ ]*  mode=STRICT' })) {
        Failed 'mutual TLS' 'no PeerAuthentication in istio-system makes it STRICT for the whole mesh: run --apply'
    } elseif ($weak) {
        Failed 'mutual TLS' "weakened by PeerAuthentication $weak"
        More "try: kubectl --context $context get peerauthentications -A"
    } else {
        Passed 'mutual TLS' 'STRICT for the whole mesh, and nothing weakens it'
    }
}

# Proxies that istiod has just told something need a moment to answer.
function Test-Sync {
    $deadline = [DateTime]::UtcNow.AddSeconds((Get-Seconds))
    while ($true) {
        $answer = Invoke-Istioctl @('proxy-status', '-v', '1')
        if ($answer.Code -ne 0) {
            Failed 'sync' "istioctl proxy-status: $(Get-LastLine $answer.Errors)"
            return
        }
        $lines = @(Split-Lines $answer.Output)
        $behind = @($lines | Select-Object -Skip 1 | Where-Object { $_ -cmatch 'STALE|ERROR' })
        # What a proxy refuses, it refuses again.
        if ($behind.Count -eq 0 -or [DateTime]::UtcNow -ge $deadline -or ($behind -cmatch 'ERROR')) { break }
        Start-Sleep -Seconds 2
    }
    if ($behind.Count) {
        Failed 'sync' "not as istiod says: $(@($behind | ForEach-Object { $_.Split(' ')[0] }) -join ' ')"
        Write-Indented @(@($lines[0]) + $behind)
        More 'ERROR: the proxy refused it, its log says why. STALE: it has not answered'
    } elseif ($lines.Count -lt 2) {
        Failed 'sync' 'no proxy is connected to istiod'
    } else {
        Passed 'sync' "$($lines.Count - 1) proxies have what istiod sent"
    }
}

function Invoke-Proxy([object] $Pod, [string] $Request) {
    Invoke-Kubectl @('-n', $Pod.Namespace, 'exec', $Pod.Name, '-c', 'istio-proxy', '--', 'pilot-agent', 'request', 'GET', $Request)
}

# Of each proxy: which of our plugins it was given, and whether as what. Where the module could not be fetched, a filter that refuses
# everything stands in its place.
function Test-Plugins([object[]] $Pods) {
    $loaded = 0; $bad = @(); $ephemeral = ''
    $keyed = @(Get-MeshNamespaces)
    $there = @(Read-Plugins | ForEach-Object { "$($_.Kind) $($_.Namespace).$($_.Name)" })
    $proxies = @($Pods | Where-Object { $_.Phase -ceq 'Running' -and $_.Proxy -and $_.Istio -cne 'egressgateway' })
    foreach ($pod in $proxies) {
        $where = "$($pod.Namespace)/$($pod.Name)"
        $ecds = Invoke-Proxy $pod 'config_dump?resource=ecds_filters'
        if ($ecds.Code -ne 0) {
            $bad += "${where}: $(Get-LastLine $ecds.Errors)"
            continue
        }
        # A proxy also shows those that it was given before, and uses no more.
        $plugins = @([regex]::Matches($ecds.Output, '"name": *"extensions\.istio\.io/([^/"]*)/([^/"~]*)(~[^"]*)?"[\s\S]*?"@type": *"[^"]*\.([^".]*)"') | Where-Object {
                $kind = if ($_.Groups[1].Value -ceq 'wasmplugin' -or $_.Groups[3].Value -ceq '~istio-translated-wasmplugin') { 'WasmPlugin' } else { 'TrafficExtension' }
                $there -ccontains ($kind + ' ' + $_.Groups[2].Value)
            })
        $unfetched = @($plugins | Where-Object { $_.Groups[4].Value -cne 'Wasm' } | ForEach-Object { $_.Groups[2].Value })
        $stats = (Invoke-Proxy $pod 'stats?filter=careplane|wasm.envoy').Output
        if ($plugins.Count -eq 0) { $bad += "${where}: has no plugin of careplane" }
        elseif ($unfetched.Count) { $bad += "${where}: the module of $($unfetched -join ' ') could not be fetched; every request is refused" }
        # istiod and the configuration dump know nothing of it: both have what was sent, not what became of it.
        elseif ($stats -notmatch '(?m)^wasm\.envoy\.wasm\.runtime\.v8\.active: [1-9]') { $bad += "${where}: refused the policy when it started; every request is a 500" }
        else { $loaded += $plugins.Count }
        # Elsewhere a proxy makes no records.
        if ($keyed -ccontains $pod.Namespace -and $stats -match 'pseudonym_key_ephemeral: [1-9]') { $ephemeral += " $where" }
    }
    if ($bad.Count) {
        Failed 'plugins' 'not loaded everywhere'
        Write-Indented $bad
        More "the log of the proxy says why: kubectl --context $context -n NAMESPACE logs POD -c istio-proxy | grep -i wasm"
    } elseif ($proxies.Count -eq 0) {
        Failed 'plugins' 'no proxy runs'
    } else {
        Passed 'plugins' "$loaded in $($proxies.Count) proxies"
    }
    if ($ephemeral) {
        Warn "no pseudonym key in${ephemeral}: a person has another pseudonym in each; see docs/troubleshooting.md"
    }
}

# Forwards a free local port, which it leaves in $port; what went wrong, or nothing.
function Open-Port([string] $Namespace, [string] $Service, [string] $Remote) {
    $process = [System.Diagnostics.Process]::Start((New-Start 'kubectl' @('--context', $context, '-n', $Namespace, 'port-forward', "svc/$Service", ":$Remote")))
    $script:forwarders += $process
    $line = $process.StandardOutput.ReadLineAsync()
    if ($line.Wait(10000) -and "$($line.Result)" -match '^Forwarding from 127\.0\.0\.1:(\d+) ') {
        $script:port = $Matches[1]
        # Read on, or the pipe fills and the port-forward stands still.
        $null = $process.StandardOutput.ReadToEndAsync()
        $null = $process.StandardError.ReadToEndAsync()
        return ''
    }
    if (-not $process.HasExited) { $process.Kill() }
    "no port-forward: $(Get-LastLine $process.StandardError.ReadToEnd())"
}

# One request that is traced in any case: refused for want of a tenant; with a token, of a context that is always traced.
function Test-Trace {
    # The first host of the ingress Gateway, whatever it has been renamed to.
    $gateway = $script:documents | Where-Object { $_.Kind -ceq 'Gateway' -and $_.Name -ceq 'writecarenotes' } | Select-Object -First 1
    $hostName = if ($gateway -and $gateway.Text -cmatch '(?m)^ *- (?:[a-z0-9-]+/)?([a-z0-9-]+\.[a-z0-9.-]+)\r?$') { $Matches[1] } else { 'api.writecarenotes.com' }
    # Letters only: ten digits could be taken for an NHS number.
    $correlation = 'verify-' + (-join ((New-Key).Substring(0, 16).ToCharArray() | ForEach-Object { if ([char]::IsDigit($_)) { [char]([int] $_ + 55) } else { $_ } }))
    if ($gatewayUrl) {
        $address = $gatewayUrl -replace '^[^:]*://', '' -replace '/.*', ''
    } else {
        $problem = Open-Port 'core-healthcare' 'istio-ingressgateway' '443'
        if ($problem) {
            Failed 'trace' "no port-forward to the ingress gateway: $($problem -replace '^no port-forward: ', '')"
            More 'where port-forward does not work, give --gateway-url and --jaeger-url'
            return
        }
        $address = "127.0.0.1:$port"
    }
    # The token on standard input: arguments can be seen by every process of this machine.
    $configuration = if ($token) { "header = `"authorization: Bearer $token`"" } else { '' }
    $headers = Join-Path $work 'headers'
    $answer = Invoke-Program 'curl' @('--silent', '--show-error', '--insecure', '--max-time', '30', '--config', '-', '--connect-to', "${hostName}:443:$address",
        '-H', "x-correlation-id: $correlation", '-D', $headers, "https://$hostName/api/v1/medications") $configuration
    $status = if (Test-Path $headers) { @(Get-Content $headers | ForEach-Object { if ($_ -match '^HTTP\S* (\d+)') { $Matches[1] } }) | Select-Object -Last 1 }
    if (-not $status) {
        Failed 'trace' "the gateway does not answer at ${address}: $(Get-LastLine $answer.Errors)"
        if (-not (Test-Certificate)) { More "it has no certificate: Secret $tlsSecret is not in $tlsNamespace" }
        return
    }
    if ($status -eq '500') {
        Failed 'trace' "GET https://$hostName/api/v1/medications is a 500: was the policy refused when the proxy started? See docs/troubleshooting.md"
        return
    }
    if (-not $token -and ($status -ne '403' -or -not $answer.Output.Contains('"correlation'))) {
        Failed 'trace' "GET https://$hostName/api/v1/medications without a token is $status, and not careplane's 403: $($answer.Output.Substring(0, [Math]::Min(200, $answer.Output.Length)))"
        return
    }

    if ($jaegerUrl) {
        $address = $jaegerUrl.TrimEnd('/')
    } else {
        $problem = Open-Port 'tracing' 'writecarenotes-jaeger-query' '16686'
        if ($problem) {
            Failed 'trace' "no port-forward to Jaeger: $($problem -replace '^no port-forward: ', '')"
            More 'where port-forward does not work, give --jaeger-url'
            return
        }
        $address = "http://127.0.0.1:$port"
    }
    $deadline = [DateTime]::UtcNow.AddSeconds(60)
    while ($true) {
        # Jaeger searches one service at a time.
        $services = (Invoke-Program 'curl' @('--silent', '--max-time', '10', "$address/api/services")).Output
        foreach ($service in @([regex]::Matches($services, '[a-z0-9.-]*ingressgateway[a-z0-9.-]*') | ForEach-Object { $_.Value } | Sort-Object -Unique)) {
            $traces = Invoke-Program 'curl' @('--silent', '--max-time', '10', '--get', "$address/api/traces", '--data-urlencode', "service=$service",
                '--data-urlencode', 'limit=1', '--data-urlencode', "tags={`"correlation_id`":`"$correlation`"}")
            if ($traces.Output.Contains('"traceID"')) {
                Passed 'trace' "GET https://$hostName/api/v1/medications was a $status, and Jaeger has its trace: correlation_id=$correlation"
                return
            }
        }
        if ([DateTime]::UtcNow -ge $deadline) { break }
        Start-Sleep -Seconds 1
    }
    Failed 'trace' "GET https://$hostName/api/v1/medications was a $status, and after 60 s Jaeger has no trace with correlation_id=$correlation"
    More 'see docs/troubleshooting.md, No traces'
}

function Test-All {
    $pods = @(Read-Pods)
    Test-Injection $pods
    Test-MutualTls
    Test-Sync
    Test-Plugins $pods
    if ($overlay -eq 'audit-only') { Say 'trace' 'not looked for: audit-only keeps no trace' } else { Test-Trace }
    if ($failures -gt 0) {
        Fail $unverified "$failures of the checks failed" @('docs/troubleshooting.md says what to do; --verify tries again')
    }
    Say 'verified' 'all checks passed'
}

# --- undo ---------------------------------------------------------------------------------------------------------------------------

function Remove-Part([string] $Part, [object[]] $Documents) {
    $split = Split-Known $Documents
    $removed = 0
    if ($split.Known.Count) {
        $file = Write-Documents "$Part.known" $split.Known
        $answer = Invoke-Kubectl @('delete', '--ignore-not-found', '--cascade=foreground', "--timeout=$timeout", '-f', $file)
        if ($answer.Code -ne 0) {
            Write-IndentedError $answer.Errors
            Fail $timedOut "$Part cannot be removed: the reason is above" @('then run --undo again')
        }
        $removed = @(Split-Lines $answer.Output).Count
    }
    if ($removed) { Say $Part "$removed removed" } else { Say $Part 'nothing to remove' }
}

function Remove-Observability {
    $own = @(Get-Part 'observability')
    Remove-Part 'observability' @($own | Where-Object { $_.Kind -cne 'PersistentVolumeClaim' })
    foreach ($holder in @($own | Where-Object { @('PersistentVolumeClaim', 'StatefulSet') -ccontains $_.Kind })) {
        $namespace = $holder.Namespace
        $claims = @(Split-Lines (Invoke-Kubectl @('-n', $namespace, 'get', 'persistentvolumeclaims', '-o', 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}')).Output)
        # Those of a StatefulSet Kubernetes made, and does not remove with it.
        $pattern = if ($holder.Kind -ceq 'StatefulSet') { '-' + [regex]::Escape($holder.Name) + '-[0-9]+$' } else { '^' + [regex]::Escape($holder.Name) + '$' }
        foreach ($claim in @($claims | Where-Object { $_ -cmatch $pattern })) {
            if ($purge) {
                $answer = Invoke-Kubectl @('-n', $namespace, 'delete', 'persistentvolumeclaim', $claim, "--timeout=$timeout")
                if ($answer.Code -ne 0) { Stop-Refused 'observability' 'removed' $answer.Errors }
                More "removed: PersistentVolumeClaim $namespace/$claim, and what it held"
            } else {
                More "kept: PersistentVolumeClaim $namespace/$claim, it holds data (--purge removes it)"
            }
        }
    }
}

function Test-Istiod { '' -ne (Invoke-Kubectl @('-n', 'istio-system', 'get', 'deployment', 'istiod', '--ignore-not-found', '-o', 'name')).Output.Trim() }

# Istio goes only when nobody needs it: a proxy without istiod works on, until its certificate ends.
function Remove-Istio {
    if (-not (Test-Istiod)) {
        Say 'istio' 'nothing to remove'
        return
    }
    $served = @(Read-Pods | Where-Object {
                $_.Phase -ceq 'Running' -and @('ingressgateway', 'egressgateway') -cnotcontains $_.Istio -and
                (($_.Proxy -and -not $_.Name.StartsWith('ztunnel-')) -or $_.Redirected)
            } | ForEach-Object { "$($_.Namespace)/$($_.Name)" })
    if ($served.Count -and -not $purge) {
        Say 'istio' "kept: it serves the proxies of $(Get-Few $served)"
        More 'restart these, now that their namespace has lost its label, then run --undo again; or --purge'
        return
    }
    $answer = Invoke-Istioctl (@('uninstall') + $istioOptions + @('--skip-confirmation'))
    if ($answer.Code -ne 0) {
        Write-IndentedError (@(Split-Lines ($answer.Output + $answer.Errors) | Select-Object -Last 5) -join "`n")
        Fail $refused 'istioctl uninstall failed: the reason is above'
    }
    if (Test-Istiod) {
        Say 'istio' 'kept: not the installation that --apply made (another name or revision)'
        More "try: istioctl --context $context uninstall --help"
        return
    }
    $null = Invoke-Kubectl @('wait', 'pods', '-A', '-l', 'istio in (pilot, ingressgateway, egressgateway)', '--for=delete', "--timeout=$timeout")
    Say 'istio' 'removed; its CRDs stay, they hold the configuration of anybody who uses Istio'
}

function Remove-Keys {
    $holders = ''
    foreach ($namespace in @(Get-MeshNamespaces)) {
        if (-not (Invoke-Kubectl @('-n', $namespace, 'get', 'secret', $keySecret, '--ignore-not-found', '-o', 'name')).Output.Trim()) { continue }
        $holders += " $namespace"
        if ($purge) {
            $answer = Invoke-Kubectl @('-n', $namespace, 'delete', 'secret', $keySecret)
            if ($answer.Code -ne 0) { Stop-Refused 'keys' 'removed' $answer.Errors }
        }
    }
    if (-not $holders) {
        Say 'keys' 'nothing to remove'
    } elseif ($purge) {
        Say 'keys' "removed: Secret $keySecret in$holders"
    } else {
        Say 'keys' "kept: Secret $keySecret in$holders"
        More 'without it, nobody can say which pseudonym is whose (--purge removes it)'
    }
}

# The first five of a list in one line, and how many there are more
function Get-Few([string[]] $List) {
    $text = @($List | Select-Object -First 5) -join ' '
    if ($List.Count -gt 5) { "$text and $($List.Count - 5) more" } else { $text }
}

# What makes a namespace not empty: everything but what Kubernetes and Istio put into each one, and our service accounts.
function Get-Contents([string] $Namespace) {
    $kinds = @(Split-Lines (Invoke-Kubectl @('api-resources', '--verbs=list', '--namespaced', '-o', 'name')).Output | Where-Object {
            $_ -cnotmatch '^(events|events\.events\.k8s\.io|endpoints|endpointslices\.discovery\.k8s\.io|leases\.coordination\.k8s\.io|controllerrevisions\.apps|replicasets\.apps|pods\.metrics\.k8s\.io)$' })
    $accounts = @($script:documents | Where-Object { $_.Kind -ceq 'ServiceAccount' -and $_.Namespace -ceq $Namespace } | ForEach-Object { 'serviceaccount/' + $_.Name })
    $answer = Invoke-Kubectl @('-n', $Namespace, 'get', ($kinds -join ','), '--ignore-not-found', '-o', 'name')
    Split-Lines $answer.Output | Where-Object {
        $_ -cnotmatch '^(configmap/(kube-root-ca\.crt|istio-.*)|secret/istio-ca-secret|serviceaccount/(default|istio-.*|istiod))$' -and $accounts -cnotcontains $_
    }
}

function Remove-Namespaces {
    $label = 'namespaces'
    foreach ($namespace in @(Get-AllNamespaces)) {
        if (-not (Invoke-Kubectl @('get', 'namespace', $namespace, '--ignore-not-found', '-o', 'name')).Output.Trim()) { continue }
        $contents = @(Get-Contents $namespace)
        if ($contents.Count -eq 0) {
            $answer = Invoke-Kubectl @('delete', 'namespace', $namespace, "--timeout=$timeout")
            if ($answer.Code -ne 0) { Fail $timedOut "namespace $namespace is not gone after ${timeout}: $(Get-LastLine $answer.Errors)" @('then run --undo again') }
            Say $label "removed: $namespace"
        } else {
            # Applied with nothing but its name, a namespace loses the labels that --apply gave it.
            $answer = Invoke-Kubectl @('apply', '--server-side', '--force-conflicts', "--field-manager=$manager", '-f', '-') "apiVersion: v1`nkind: Namespace`nmetadata: {name: $namespace}`n"
            if ($answer.Code -ne 0) { Stop-Refused 'namespaces' 'changed' $answer.Errors }
            Say $label "kept: $namespace, without our labels; it holds $(Get-Few $contents)"
        }
        $label = ''
    }
    if ($label) { Say $label 'nothing to remove' }
}

function Undo-All {
    Say 'mode' 'undo'
    if ($purge) {
        Confirm-Change 'Remove careplane, the mesh, the pseudonym keys, the stored traces and records, and Istio'
    } else {
        Confirm-Change 'Remove careplane and the mesh'
    }
    # The way in goes before what guards it.
    Remove-Part 'gateways' @(Get-Part 'traffic' | Where-Object { $_.Kind -ceq 'Gateway' })
    Remove-Part 'careplane' @(Get-Part 'careplane')
    Remove-Strangers
    Remove-Part 'admission' @(Get-Part 'admission')
    Remove-Observability
    Remove-Part 'traffic' @(Get-Part 'traffic')
    Remove-Part 'security' @(Get-Part 'security')
    Remove-Istio
    Remove-Keys
    Remove-Namespaces
    Say 'finished' 'removed what could be'
}

# --- forward ------------------------------------------------------------------------------------------------------------------------

function Open-Forward([string] $Name) {
    $namespace, $service, $port = switch ($Name) {
        'jaeger' { 'tracing', 'writecarenotes-jaeger-query', '16686' }
        'kiali' { 'monitoring', 'kiali', '20001' }
        'grafana' { 'monitoring', 'grafana', '3000' }
        'prometheus' { 'monitoring', 'prometheus', '9090' }
    }
    $answer = Invoke-Kubectl @('-n', $namespace, 'get', 'service', $service)
    if ($answer.Code -ne 0) { Fail $unreachable "there is no Service $namespace/${service}: $(Get-LastLine $answer.Errors)" @('run --apply first') }
    Say $Name "http://127.0.0.1:$port, until Ctrl-C"
    $answer = Invoke-Kubectl @('-n', $namespace, 'port-forward', "svc/$service", "${port}:$port")
    if ($answer.Code -ne 0) { Fail $unreachable 'the port-forward ended' @("is port $port taken on this machine?") }
}

# ------------------------------------------------------------------------------------------------------------------------------------

Read-Options @($args)
$istioOptions = @('-f', "$manifests/install/istio.yaml")
if ($overlay -eq 'ambient') { $istioOptions += @('--set', 'profile=ambient') }
$work = (New-Item -ItemType Directory -Path (Join-Path ([System.IO.Path]::GetTempPath()) ([System.IO.Path]::GetRandomFileName()))).FullName
try {
    Test-Tools
    Connect-Cluster
    if ($mode -eq 'forward') {
        Open-Forward $forward
    } else {
        Read-Manifests
        switch ($mode) {
            'plan' { Show-Plan }
            'apply' { Install-All; Test-All }
            'verify' { Test-All }
            'undo' { Undo-All }
        }
    }
} finally {
    Clear-Work
}
