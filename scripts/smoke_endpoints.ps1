#Requires -Version 7.0
<#
.SYNOPSIS
Asks a running gateway for everything it offers, once, and says what is not as promised.

.DESCRIPTION
One line a check, PASS or FAIL, then a summary; the exit status is 1 if anything failed. Needs PowerShell 7 and no
modules; smoke_checks.ps1 beside it says what is right. smoke_endpoints.py asks the same in the same order: change both.

.EXAMPLE
pwsh scripts/smoke_endpoints.ps1 -BaseUrl http://127.0.0.1:8787 -Exchange bybit -Symbol BTC/USDT:USDT
#>
[CmdletBinding()]
param(
    [string] $BaseUrl = 'http://127.0.0.1:8787',
    [string] $Exchange = 'all', # binance, bybit, hyperliquid, ...; all: whatever is on offer
    [string] $Symbol = '', # empty: the BTC perpetual of each exchange
    [double] $WaitSeconds = 20 # for the data of one exchange
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

$BaseUrl = $BaseUrl.TrimEnd('/')
$RequestId = 'smoke-endpoints'
$RequestTimeout = 15.0 # seconds; the gateway gives a venue ten
$Limit = 20 # rows asked of the fetch endpoints
$NoCancel = [System.Threading.CancellationToken]::None

# Assert-That, ConvertFrom-Text, the shapes, and what a transcript must be.
. (Join-Path $PSScriptRoot 'smoke_checks.ps1')

$Count = @{ PASS = 0; FAIL = 0; SKIP = 0 }
$Skip = @{ Reason = '' } # set by a check that cannot judge from here

# Runs $Look, which gives what is worth telling or throws, and prints its line. $Look sees the caller's variables.
function Test-Check([string] $CheckWhere, [string] $CheckName, [scriptblock] $Look) {
    $Skip['Reason'] = ''
    try {
        $checkVerdict = 'PASS'
        $checkDetail = [string](& $Look)
        if ($Skip['Reason']) {
            $checkVerdict = 'SKIP'
            $checkDetail = $Skip['Reason']
        }
    } catch {
        $checkVerdict = 'FAIL'
        $checkDetail = $_.Exception.GetBaseException().Message -replace '\s+', ' '
    }
    $Count[$checkVerdict] += 1
    ('{0}  {1,-12} {2,-30} {3}' -f $checkVerdict, $CheckWhere, $CheckName, $checkDetail).TrimEnd()
}

# -- HTTP --------------------------------------------------------------------------------------------------------------

$Handler = [System.Net.Http.HttpClientHandler]::new()
$Handler.UseProxy = $false # an environment's proxy knows nothing of a gateway on this machine or in this network
$Http = [System.Net.Http.HttpClient]::new($Handler)
$Http.Timeout = [timespan]::FromSeconds($RequestTimeout)

# GET, or POST with a body: @{ Status; RequestId; State; Text }. An error status is an answer too.
function Invoke-Gateway([string] $Path, [System.Collections.IDictionary] $Body) {
    $url = "$BaseUrl$Path"
    try {
        $method = [System.Net.Http.HttpMethod]::Get
        if ($null -ne $Body) { $method = [System.Net.Http.HttpMethod]::Post }
        $request = [System.Net.Http.HttpRequestMessage]::new($method, $url)
        $request.Headers.Add('X-Request-Id', $RequestId)
        if ($null -ne $Body) {
            $json = ConvertTo-Json -InputObject $Body -Compress
            $utf8 = [System.Text.Encoding]::UTF8
            $request.Content = [System.Net.Http.StringContent]::new($json, $utf8, 'application/json')
        }
        $reply = $Http.SendAsync($request).GetAwaiter().GetResult()
        $text = $reply.Content.ReadAsStringAsync().GetAwaiter().GetResult()
    } catch {
        throw "$url does not answer: $($_.Exception.GetBaseException().Message -replace '\s+', ' ')"
    }
    return @{
        Status = [int] $reply.StatusCode
        RequestId = Get-Header $reply 'X-Request-Id'
        State = Get-Header $reply 'X-Topic-State'
        Text = $text
    }
}

function Get-Header([System.Net.Http.HttpResponseMessage] $Reply, [string] $HeaderName) {
    if (-not $Reply.Headers.Contains($HeaderName)) { return '' }
    return [string](@($Reply.Headers.GetValues($HeaderName))[0])
}

# The content of an answer as it should be.
function Read-Answer([hashtable] $Answer) {
    $start = $Answer['Text'].Substring(0, [math]::Min(200, $Answer['Text'].Length))
    Assert-That ($Answer['Status'] -eq 200) "HTTP status $($Answer['Status']): $start"
    Assert-That ($Answer['RequestId'] -ceq $RequestId) 'X-Request-Id is not the one that was sent'
    return , (ConvertFrom-Text $Answer['Text'])
}

# -- what operators ask ------------------------------------------------------------------------------------------------

# Adds the names of the exchanges on offer to $Offered.
function Test-Operations([System.Collections.Generic.List[string]] $Offered) {
    Test-Check 'gateway' 'GET /healthz' {
        $content = Read-Answer (Invoke-Gateway '/healthz')
        Assert-That ($content['status'] -ceq 'ok' -and $content.Count -eq 1) 'it does not say ok'
    }
    Test-Check 'gateway' 'GET /readyz' {
        $content = Read-Answer (Invoke-Gateway '/readyz')
        Assert-That (@('ready', 'degraded') -ccontains $content['status']) "it says $($content['status'])"
        @(@($content['status']) + $content['reasons']) -join ', '
    }
    Test-Check 'gateway' 'GET /v1/capabilities' {
        $content = Read-Answer (Invoke-Gateway '/v1/capabilities')
        foreach ($row in $content['exchanges']) {
            $missing = @($Channels | Where-Object { -not $row['channels'].ContainsKey($_) })
            Assert-That ($missing.Count -eq 0) "$($row['exchange']) has no $($missing -join ', ')"
            $Offered.Add($row['exchange'])
        }
        Assert-That ($Offered.Count -gt 0) 'it lists no exchange'
        $Offered -join ', '
    }
    Test-Check 'gateway' 'GET /v1/status' {
        $content = Read-Answer (Invoke-Gateway '/v1/status')
        $names = @($content['exchanges'] | ForEach-Object { $_['exchange'] }) -join ', '
        Assert-That ($names -ceq ($Offered -join ', ')) "it lists $names"
        Assert-That ($content['feeds'] -is [array]) 'feeds is no list'
        $counts = $content['clients'] -is [long] -and $content['clients'] -ge 0 -and $content['uptimeMs'] -ge 0
        Assert-That $counts 'clients or uptimeMs is below 0'
        "$($content['node']), version $($content['version'])"
    }
    Test-Check 'gateway' 'GET /metrics' {
        $answer = Invoke-Gateway '/metrics'
        if ($answer['Status'] -eq 404) {
            $Skip['Reason'] = 'not on this port; GATEWAY_METRICS__BIND says where'
            return
        }
        Assert-That ($answer['Status'] -eq 200) "HTTP status $($answer['Status'])"
        $samples = @($answer['Text'].Split("`n") | Where-Object { $_.Trim() -and -not $_.StartsWith('#') })
        $odd = @($samples | Where-Object { $_.TrimEnd() -cnotmatch '^\w+(\{.*\})? \S+$' })
        Assert-That ($samples.Count -gt 0 -and $odd.Count -eq 0) 'no Prometheus text'
        "$($samples.Count) samples"
    }
}

# -- one exchange ------------------------------------------------------------------------------------------------------

function Test-Exchange([string] $Venue) {
    $chosen = @{}
    Test-Check $Venue 'POST /v1/fetchMarkets' {
        $content = Read-Answer (Invoke-Gateway '/v1/fetchMarkets' @{ exchange = $Venue })
        Assert-That ($content['exchange'] -ceq $Venue) "exchange is $($content['exchange'])"
        Assert-That ($content['timestamp'] -is [long]) "timestamp is $($content['timestamp'])"
        foreach ($row in $content['markets']) {
            Assert-Fields $row $MarketFields
            Assert-That ($row['symbol'] -ceq $row['unifiedSymbol']) "$($row['symbol']) is also $($row['unifiedSymbol'])"
        }
        Assert-That ($content['markets'].Count -gt 0) 'no market is listed'
        $market = Select-Market $content['markets'] $Symbol
        $chosen['Echoed'] = $market['Echoed']
        $chosen['Asked'] = $market['Asked']
        "$($content['markets'].Count) markets, $($chosen['Echoed']) chosen"
    }
    if ($chosen.ContainsKey('Asked')) {
        Test-Fetches $Venue $chosen['Asked'] $chosen['Echoed']
        Test-Stream $Venue $chosen['Echoed'] (Read-Stream $Venue $chosen['Asked'])
    }
}

# What one fetch endpoint answers, its header checked.
function Invoke-Fetch([string] $Endpoint, [string] $Venue, [string] $Asked) {
    $answer = Invoke-Gateway "/v1/$Endpoint" @{ exchange = $Venue; symbol = $Asked; limit = $Limit }
    $content = Read-Answer $answer
    Assert-That (@('live', 'stale', 'cold') -ccontains $answer['State']) "X-Topic-State is $($answer['State'])"
    return , $content
}

function Test-Fetches([string] $Venue, [string] $Asked, [string] $Echoed) {
    Test-Check $Venue 'POST /v1/fetchTrades' {
        $rows = Invoke-Fetch 'fetchTrades' $Venue $Asked
        Assert-That ($rows.Count -ge 1 -and $rows.Count -le $Limit) "$($rows.Count) rows, $Limit asked for"
        $before = [long]::MinValue
        foreach ($row in $rows) {
            Assert-Trade $row $Echoed
            Assert-That ($row['timestamp'] -ge $before) 'not oldest first'
            $before = $row['timestamp']
        }
        "$($rows.Count) rows"
    }
    Test-Check $Venue 'POST /v1/fetchOHLCV' {
        $rows = Invoke-Fetch 'fetchOHLCV' $Venue $Asked
        Assert-That ($rows.Count -ge 1 -and $rows.Count -le $Limit) "$($rows.Count) rows, $Limit asked for"
        Assert-Candles $rows
        "$($rows.Count) rows"
    }
    Test-Check $Venue 'POST /v1/fetchOrderBook' {
        $book = Invoke-Fetch 'fetchOrderBook' $Venue $Asked
        Assert-Book $book $Echoed $Limit
        "$($book['bids'].Count) bids, $($book['asks'].Count) asks"
    }
}

# -- the websocket -----------------------------------------------------------------------------------------------------

function Send-Command([System.Net.WebSockets.ClientWebSocket] $Socket, [System.Collections.IDictionary] $Command) {
    $bytes = [System.Text.Encoding]::UTF8.GetBytes((ConvertTo-Json -InputObject $Command -Compress))
    $segment = [System.ArraySegment[byte]]::new($bytes)
    $kind = [System.Net.WebSockets.WebSocketMessageType]::Text
    $null = $Socket.SendAsync($segment, $kind, $true, $NoCancel).GetAwaiter().GetResult()
}

# Adds frames to the transcript until $Until holds or $Seconds have passed. A receive that is still under way then is
# kept for the next call: cancelling one closes the socket.
function Read-Frames([hashtable] $Line, [scriptblock] $Until, [double] $Seconds) {
    $end = $Line['Watch'].Elapsed.TotalSeconds + $Seconds
    while (-not (& $Until)) {
        $left = $end - $Line['Watch'].Elapsed.TotalSeconds
        if ($left -le 0) { return }
        if ($null -eq $Line['Pending']) {
            $Line['Pending'] = $Line['Socket'].ReceiveAsync([System.ArraySegment[byte]]::new($Line['Bytes']), $NoCancel)
        }
        if (-not $Line['Pending'].Wait([int][math]::Ceiling($left * 1000))) { return }
        $part = $Line['Pending'].Result
        $Line['Pending'] = $null
        if ($part.MessageType -eq [System.Net.WebSockets.WebSocketMessageType]::Close) {
            throw "the gateway closed the connection: $($Line['Socket'].CloseStatus)"
        }
        $Line['Message'].Write($Line['Bytes'], 0, $part.Count)
        if ($part.EndOfMessage) {
            $text = [System.Text.Encoding]::UTF8.GetString($Line['Message'].ToArray())
            $Line['Message'].SetLength(0)
            $frame = ConvertFrom-Text $text
            $Line['Frames'].Add(@{ At = $Line['Watch'].Elapsed.TotalSeconds; Frame = $frame })
        }
    }
}

# Subscribes to every channel, hears some data of each, unsubscribes, and asks for a pong to know that all is said:
# everything received, in order, as @{ Frames = @{ At; Frame }...; Broken = why the connection failed }.
function Read-Stream([string] $Venue, [string] $Asked) {
    $transcript = @{ Frames = [System.Collections.Generic.List[object]]::new(); Broken = '' }
    $socket = [System.Net.WebSockets.ClientWebSocket]::new()
    $socket.Options.Proxy = $null
    $line = @{
        Socket = $socket
        Bytes = [byte[]]::new(65536)
        Message = [System.IO.MemoryStream]::new()
        Pending = $null
        Watch = [System.Diagnostics.Stopwatch]::StartNew()
        Frames = $transcript['Frames']
    }
    try {
        $url = [uri](($BaseUrl -creplace '^http', 'ws') + '/v1/ws')
        $patience = [System.Threading.CancellationTokenSource]::new([timespan]::FromSeconds($RequestTimeout))
        $null = $socket.ConnectAsync($url, $patience.Token).GetAwaiter().GetResult()
        $line['Watch'].Restart()
        foreach ($op in 'subscribe', 'unsubscribe') {
            foreach ($channel in $Channels) {
                $topic = @{ channel = $channel; exchange = $Venue; symbol = $Asked }
                Send-Command $socket ($topic + @{ op = $op; id = $channel })
            }
            if ($op -ceq 'subscribe') {
                Read-Frames $line { Test-Settled $transcript } $WaitSeconds
            }
        }
        Send-Command $socket @{ op = 'ping' }
        Read-Frames $line { @(Get-Typed $transcript 'pong').Count -gt 0 } $RequestTimeout
        $normal = [System.Net.WebSockets.WebSocketCloseStatus]::NormalClosure
        $null = $socket.CloseOutputAsync($normal, '', $NoCancel).Wait(1000)
    } catch {
        $transcript['Broken'] = $_.Exception.GetBaseException().Message -replace '\s+', ' '
    } finally {
        $socket.Dispose()
    }
    return $transcript
}

function Test-Stream([string] $Venue, [string] $Echoed, [hashtable] $Heard) {
    foreach ($stream in $Channels) {
        Test-Channel $Venue $Echoed $Heard $stream
    }
    Test-Check $Venue 'ws ping' {
        Assert-That (@(Get-Typed $Heard 'pong').Count -gt 0) (Get-Problem $Heard)
    }
    Test-Check $Venue 'ws only base frames' {
        Assert-That ($Heard['Frames'].Count -gt 0) (Get-Problem $Heard)
        $types = @($Heard['Frames'] | ForEach-Object { $_['Frame']['type'] } | Sort-Object -Unique -CaseSensitive)
        $others = @($types | Where-Object { $BaseTypes -cnotcontains $_ })
        Assert-That ($others.Count -eq 0) "without a hello came $($others -join ', ')"
        "$($Heard['Frames'].Count) frames"
    }
}

# -- all of it ---------------------------------------------------------------------------------------------------------

try {
    $probe = Invoke-Gateway '/healthz'
} catch {
    "FAIL  $($_.Exception.Message); is the gateway running? ``market-gateway demo`` starts one"
    exit 1
}
if (-not $probe['RequestId']) {
    "FAIL  $BaseUrl answers, but is no market-gateway"
    exit 1
}

$offered = [System.Collections.Generic.List[string]]::new()
Test-Operations $offered
$venues = @($Exchange)
if ($Exchange -ceq 'all') { $venues = @($offered) }
foreach ($one in $venues) {
    Test-Exchange $one
}

$summary = "$($Count['PASS']) passed, $($Count['FAIL']) failed"
if ($Count['SKIP']) { $summary += ", $($Count['SKIP']) skipped" }
$summary
exit [int]($Count['FAIL'] -gt 0)
