import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1

/// Lets a client that asks first (`Expect: 100-continue`, RFC 9110, section 10.1.1) send its body when an endpoint
/// begins to read it. A request that is refused without its body, such as for its key, its path or the length of its
/// body, is thus refused before the body is sent.
struct ExpectContinueMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.headers[.expect].expectsContinue else { return try await next(request, context) }
        var request = request
        request.body = RequestBody(asyncSequence: AwaitedBody(body: request.body, channel: context.channel))
        return try await next(request, context)
    }
}

/// A body that is asked for when it is first read.
private struct AwaitedBody: AsyncSequence, Sendable {
    let body: RequestBody
    let channel: any Channel

    struct AsyncIterator: AsyncIteratorProtocol {
        var iterator: RequestBody.AsyncIterator
        /// Nil once the body has been asked for.
        var channel: (any Channel)?

        mutating func next() async throws -> ByteBuffer? {
            if let channel {
                channel.triggerUserOutboundEvent(BodyWanted(), promise: nil)
                self.channel = nil
            }
            return try await iterator.next()
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: body.makeAsyncIterator(), channel: channel) }
}

/// Puts an ``ExpectContinueHandler`` where a connection's messages are those of HTTP/1.
final class ExpectContinueInstaller: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    func handlerAdded(context: ChannelHandlerContext) {
        do {
            let pipeline = context.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(ExpectContinueHandler(), position: .after(decoder))
        } catch {
            context.fireErrorCaught(error)
        }
    }
}

/// Writes `100 Continue` to a client that waits for it when the body is wanted. If the answer comes without the body
/// having been wanted, nobody can know whether the client sends it all the same: the connection then ends with the
/// answer.
private final class ExpectContinueHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private var (readCount, answeredCount) = (0, 0)
    /// The number of the request whose client waits; no other follows it before its body.
    private var waiting: Int?
    private var closesAfterAnswer = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            readCount += 1
            if head.version != .http1_0, head.headers.first(name: "expect").expectsContinue { waiting = readCount }
        // The client has not waited, or has nothing to send
        case .body, .end: waiting = nil
        }
        context.fireChannelRead(data)
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is BodyWanted else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        guard waiting == answeredCount + 1 else {
            promise?.succeed()
            return
        }
        waiting = nil
        let head = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(head)), promise: promise)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where waiting == answeredCount + 1:
            closesAfterAnswer = true
            head.headers.replaceOrAdd(name: "connection", value: "close")
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where closesAfterAnswer:
            context.writeAndFlush(data, promise: promise)
            // Only this side: what the client sends meanwhile must not cost it the answer
            context.close(mode: .output, promise: nil)
        case .end:
            answeredCount += 1
            context.write(data, promise: promise)
        default: context.write(data, promise: promise)
        }
    }
}

/// The event that asks for the body of the request that is being answered.
private struct BodyWanted: Sendable {}

extension String? {
    /// Whether this value of `Expect` says that a client waits for `100 Continue` before it sends its body.
    fileprivate var expectsContinue: Bool { self?.lowercased() == "100-continue" }
}
